//! `profile = FILE` in a configuration: what `[control]` leaves out, the profile of a machine says.

use control::PictureAge;
use record::Profile;
use record::profile::Moved;
use toml::{Table, Value};

/// Puts into a configuration what it does not say itself: the knee, what copying adds, picture age by load; and of each function its
/// load, the time of a move and the most that the gap can have been in the profile's moves. A function's `moved` says what is moved over what, and `[migration.law]` of the profile how
/// long that takes.
///
/// # Errors
/// What the profile does not say either, or what is said twice.
pub(crate) fn fill(config: &mut Table, profile: &Profile) -> Result<(), String> {
    if let Some(discover) = config.get_mut("discover").and_then(Value::as_table_mut) {
        put(discover, "load", profile.function.idle.share());
        put(discover, "migration_ms", profile.migration.p95_ms);
        put(discover, "gap_ms", profile.migration.gap_ms_max());
    }
    let Some(control) = config.get_mut("control").and_then(Value::as_table_mut) else {
        return Ok(());
    };
    if !control.contains_key("picture_age") {
        let age = PictureAge::try_from(profile).map_err(|error| format!("profile: {error}"))?;
        let age = Value::try_from(age).map_err(|error| error.to_string())?;
        control.insert("picture_age".into(), age);
    }
    let policy = control.get_mut("policy").and_then(Value::as_table_mut);
    let deadline =
        policy.filter(|policy| policy.get("name").and_then(Value::as_str) == Some("deadline"));
    if let Some(policy) = deadline {
        put(policy, "knee", profile.knee.utilization.share());
        put(policy, "copying_extra", profile.function.copying_extra);
    }
    // A move is predicted as the fullest hosts would have it: from a source at the knee to a target that is as full as one may be.
    let share = |table: Option<&Value>, key: &str| {
        let value = table.and_then(|table| table.get(key));
        value.and_then(Value::as_float).unwrap_or(1.0)
    };
    let ends = [
        share(control.get("policy"), "knee"),
        share(control.get("limits"), "target_load_max"),
    ];
    let functions = control.get_mut("functions").and_then(Value::as_array_mut);
    for function in functions
        .into_iter()
        .flatten()
        .filter_map(Value::as_table_mut)
    {
        let name = function
            .get("vm")
            .and_then(Value::as_str)
            .unwrap_or("?")
            .to_owned();
        fill_function(function, profile, ends)
            .map_err(|why| format!("control.functions, {name}: {why}"))?;
    }
    Ok(())
}

fn fill_function(
    function: &mut Table,
    profile: &Profile,
    [source, target]: [f64; 2],
) -> Result<(), String> {
    put(function, "load", profile.function.idle.share());
    let migration = &profile.migration;
    let (migration_ms, gap_ms) = match function.remove("moved") {
        // No viewer was asked: what the moves took bounds what one can have seen. Viewers' reports of moves say it later.
        None => (migration.p95_ms, migration.gap_ms_max()),
        Some(_) if function.contains_key("migration_ms") || function.contains_key("gap_ms") => {
            return Err(
                "`moved` says how long a move takes: leave out migration_ms and gap_ms, or `moved`"
                    .into(),
            );
        }
        Some(moved) => {
            let moved: Moved = moved
                .try_into()
                .map_err(|error| format!("moved: {}", error.message()))?;
            let law = migration.law.as_ref().ok_or(
                "`moved` needs [migration.law] in the profile: `forestall report FOLDER --profile FILE` writes it",
            )?;
            moved.check()?;
            let predicted = law.predict(&moved).ok_or(
                "moved: memory is written faster than it is sent, so that a move never ends",
            )?;
            let slowdown = migration.slowdown.as_ref();
            let times = slowdown.map_or(1.0, |by| by.source.at(source) * by.target.at(target));
            let migration_ms = predicted.total_ms * times + migration.around_ms();
            (migration_ms, predicted.gap_ms)
        }
    };
    put(function, "migration_ms", migration_ms);
    put(function, "gap_ms", gap_ms);
    Ok(())
}

/// Puts a figure where none is.
fn put(table: &mut Table, key: &str, value: f64) {
    table.entry(key).or_insert(Value::Float(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `lab calibrate` and `report --profile` write it.
    const PROFILE: &str = r#"
        schema = 1
        measured_at = "2026-11-30T12:00:00Z"
        machine = "a machine"
        service = "a service"
        [knee]
        utilization = 0.97
        budget_ms = 200.0
        sweep = [
            { offered = 0.5, utilization = 0.5, age_median_ms = 20.0, age_p95_ms = 30.0, frame_interval_cv = 0.1 },
            { offered = 1.1, utilization = 0.99, age_median_ms = 900.0, age_p95_ms = 2000.0, frame_interval_cv = 0.9 },
        ]
        [function]
        idle = 0.25
        copying_extra = 0.04
        [migration]
        mean_ms = 7000.0
        p95_ms = 7200.0
        moves = [
            { source_utilization = 0.7, total_ms = 6800.0, downtime_ms = 30.0, complete_ms = 7000.0 },
            { source_utilization = 0.8, total_ms = 6900.0, downtime_ms = 40.0, complete_ms = 7200.0 },
        ]
    "#;
    const LAW: &str = r#"
        [migration.law]
        measured_at = "2026-11-30T13:00:00Z"
        moves = 100
        total = { fixed_ms = 400.0, times = 1.1, own_mib = 100.0, round_trips = 5.0, sd_share = 0.02 }
        downtime = { fixed_ms = 20.0, ms_per_mib = 9.0, round_trips = 2.0, sd_ms = 5.0 }
        gap = { fixed_ms = 120.0, ms_per_mib = 9.0, round_trips = 4.0, sd_ms = 20.0 }
    "#;
    const MOVED: &str = "moved = { used_mib = 1000, dirty_mib_s = 0, bandwidth_mib_s = 100, downtime_limit_ms = 300, rtt_ms = 10 }";

    fn filled(function: &str, law: &str) -> Result<Table, String> {
        let text = format!(
            "[control.policy]\nname = \"deadline\"\nknee = 0.9\n[[control.functions]]\nvm = \"overlay\"\n{function}"
        );
        let mut config: Table = toml::from_str(&text).unwrap();
        let profile = format!("{PROFILE}{law}")
            .replace("schema = 1", &format!("schema = {}", record::SCHEMA));
        fill(&mut config, &toml::from_str(&profile).unwrap())?;
        Ok(config["control"].as_table().unwrap().clone())
    }

    #[test]
    fn what_is_left_out_is_said_by_the_profile_and_nothing_else() {
        let control = filled("migration_ms = 5000", LAW).unwrap();
        assert_eq!(
            control["policy"]["knee"].as_float(),
            Some(0.9),
            "it was told"
        );
        assert_eq!(control["policy"]["copying_extra"].as_float(), Some(0.04));
        assert_eq!(control["picture_age"][1][1].as_float(), Some(2000.0));
        let function = &control["functions"][0];
        assert_eq!(function["load"].as_float(), Some(0.25));
        assert_eq!(
            function["migration_ms"].as_integer(),
            Some(5000),
            "it was told"
        );
        assert_eq!(
            function["gap_ms"].as_float(),
            Some(340.0),
            "from when the guest stopped until the viewer was served from the target, and what was prepared before"
        );
    }

    #[test]
    fn the_law_says_how_long_another_machine_is_moved() {
        let control = filled(MOVED, LAW).unwrap();
        let function = &control["functions"][0];
        // 400 ms, 10 s of copying times 1.1, 5 round trips; 2 % times 1.645 more; and 300 ms before and after the engine's time.
        let migration_ms = function["migration_ms"].as_float().unwrap();
        assert!(
            (migration_ms - (11_450.0 * 1.0329 + 300.0)).abs() < 1e-6,
            "{migration_ms}"
        );
        let gap_ms = function["gap_ms"].as_float().unwrap();
        assert!((gap_ms - (160.0 + 32.9)).abs() < 1e-6, "{gap_ms}");
        assert!(function.get("moved").is_none());
    }

    #[test]
    fn load_of_both_ends_makes_it_longer() {
        // The source at the knee of 90 %, the target as full as nobody limits it.
        let slowdown = "[migration.slowdown]\nmeasured_at = \"2026-11-30T14:00:00Z\"\n\
                        source = [[0.8, 1.0], [1.0, 2.0]]\ntarget = [[0.0, 1.0], [1.0, 1.1]]";
        let control = filled(MOVED, &format!("{LAW}\n{slowdown}")).unwrap();
        let migration_ms = control["functions"][0]["migration_ms"].as_float().unwrap();
        let expected = 11_450.0 * 1.0329 * 1.5 * 1.1 + 300.0;
        assert!((migration_ms - expected).abs() < 1e-6, "{migration_ms}");
    }

    #[test]
    fn what_cannot_be_predicted_is_refused() {
        let other = |from, to| MOVED.replace(from, to);
        for (function, law, why) in [
            (MOVED.to_owned(), "", "needs [migration.law]"),
            (format!("{MOVED}\ngap_ms = 1"), LAW, "leave out"),
            (
                other("dirty_mib_s = 0", "dirty_mib_s = 200"),
                LAW,
                "never ends",
            ),
            (other("used_mib = 1000", "used_mib = -1"), LAW, "used_mib"),
            (other("rtt_ms = 10", "rtt_ms = nan"), LAW, "rtt_ms"),
            (other("rtt_ms", "rtt"), LAW, "rtt"),
        ] {
            let refused = filled(&function, law).unwrap_err();
            assert!(
                refused.contains("overlay") && refused.contains(why),
                "{refused}"
            );
        }
    }
}
