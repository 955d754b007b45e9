//! What a person says to a running orchestrator, and asks of it.

use clap::Subcommand;
use control::View;
use control::view::{Freshness, FunctionView, MoveView};
use orchestrator::api::{Explained, FunctionStatus, HostStatus, Status};
use orchestrator::client::ClientError;
use orchestrator::explain;
use orchestrator::journal::history::MoveRecord;
use orchestrator::progress::CopyProgress;
use record::{Decision, HostName, Timestamp, Verdict, VmName};
use serde_json::json;

use super::place::Place;
use super::{Failure, FailureKind, Outcome, runtime};

const WHY_EXAMPLES: &str = "\
Examples:
  forestall why text-insertion     # a function: its move, or why it does not move
  forestall why edge-a             # a host: why nothing leaves it
  forestall why 17                 # a move: everything that was decided, with its figures";

const FORGET_KNEE_EXAMPLES: &str = "\
Examples:
  forestall hosts                  # which knees were learned, since when
  forestall forget-knee edge-a     # a line was bad, not the host: its knee is the configured one again

What viewers report from then on is learned from as before.";

const MOVE_EXAMPLES: &str = "\
Examples:
  forestall move text-insertion edge-b

The move begins if the target can carry the function. Otherwise nothing happens, the reason is told, and the exit code is 1.";

/// What can be said and asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What a running orchestrator does: trust, hosts heard, open moves, what waits for a person
    Status(Place),
    /// Hosts with their load, forecast, and why nothing leaves them
    Hosts(Place),
    /// Functions: where they are, and what a move of each takes
    Functions(Place),
    /// Moves, newest first: predicted and true time, margin, verdict
    Moves {
        /// So many at most
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: usize,
        #[command(flatten)]
        place: Place,
    },
    /// Why a function moved or did not, in plain words
    #[command(after_help = WHY_EXAMPLES)]
    Why {
        /// A function, a host, or the number of a move
        what: String,
        #[command(flatten)]
        place: Place,
    },
    /// Have a function moved now
    #[command(after_help = MOVE_EXAMPLES)]
    Move {
        /// The function
        function: VmName,
        /// The host
        target: HostName,
        #[command(flatten)]
        place: Place,
    },
    /// Agree to a move that waits for it (`trust = "recommend"`)
    Approve {
        /// The function; it goes where the orchestrator recommends now
        function: VmName,
        #[command(flatten)]
        place: Place,
    },
    /// Say that a function was looked after whose move ended badly: it may be moved again
    Release {
        /// The function
        function: VmName,
        #[command(flatten)]
        place: Place,
    },
    /// Begin no more moves; those under way go on to their verdict
    Disarm(Place),
    /// Begin moves again
    Arm(Place),
    /// Have all functions moved away from a host, and none to it
    Drain {
        /// The host
        host: HostName,
        #[command(flatten)]
        place: Place,
    },
    /// Give a drained host back
    Undrain {
        /// The host
        host: HostName,
        #[command(flatten)]
        place: Place,
    },
    /// Throw away what viewers have taught of a host's knee: the configured one counts again
    #[command(after_help = FORGET_KNEE_EXAMPLES)]
    ForgetKnee {
        /// The host
        host: HostName,
        #[command(flatten)]
        place: Place,
    },
}

impl Command {
    pub(crate) fn run(self) -> Result<Outcome, Failure> {
        runtime()?.block_on(self.ask()).map_err(|error| Failure {
            kind: match error {
                ClientError::Connect { .. } => FailureKind::Missing,
                ClientError::Token(_) | ClientError::Letters | ClientError::Trust(_) => {
                    FailureKind::Configuration
                }
                _ => FailureKind::Work,
            },
            error: error.into(),
        })
    }

    async fn ask(self) -> Result<Outcome, ClientError> {
        match self {
            Self::Status(place) => {
                place.show("/v1/status", status).await?;
            }
            Self::Hosts(place) => {
                place
                    .show("/v1/hosts", |list: &Vec<HostStatus>| hosts(list))
                    .await?;
            }
            Self::Functions(place) => {
                let table = |list: &Vec<FunctionStatus>| functions(list);
                place.show("/v1/functions", table).await?;
            }
            Self::Moves { limit, place } => {
                let path = format!("/v1/moves?limit={limit}");
                place
                    .show(&path, |list: &Vec<MoveRecord>| moves(list))
                    .await?;
            }
            Self::Why { what, place } => why(&place, &what).await?,
            Self::Move {
                function,
                target,
                place,
            } => {
                let path = format!("/v1/functions/{function}/move");
                place
                    .change(&path, &json!({ "target": target }), begun)
                    .await?;
            }
            Self::Approve { function, place } => approve(&place, &function).await?,
            Self::Release { function, place } => {
                let path = format!("/v1/functions/{function}/release");
                place
                    .say(&path, &format!("{function} may be moved again"))
                    .await?;
            }
            Self::Disarm(place) => {
                let words = "disarmed: no move begins; those under way go on to their verdict";
                place.say("/v1/disarm", words).await?;
            }
            Self::Arm(place) => place.say("/v1/arm", "armed").await?,
            Self::Drain { host, place } => {
                let path = format!("/v1/hosts/{host}/drain");
                let words =
                    format!("{host} is being emptied; `forestall why {host}` says how far it is");
                place.say(&path, &words).await?;
            }
            Self::Undrain { host, place } => {
                let path = format!("/v1/hosts/{host}/undrain");
                place
                    .say(&path, &format!("{host} takes functions again"))
                    .await?;
            }
            Self::ForgetKnee { host, place } => {
                let path = format!("/v1/hosts/{host}/forget-knee");
                let words = format!("the knee of {host} is the configured one again");
                place.say(&path, &words).await?;
            }
        }
        Ok(Outcome::Done)
    }
}

impl Place {
    /// A change of which the decisions are told that follow at once.
    async fn say(&self, path: &str, words: &str) -> Result<(), ClientError> {
        let told = |decisions: &Vec<Decision>| {
            let mut text = words.to_owned();
            for decision in decisions {
                text += &format!("\n  {}", explain::of_decision(decision));
            }
            text
        };
        self.change(path, &json!({}), told).await
    }
}

async fn why(place: &Place, what: &str) -> Result<(), ClientError> {
    let path = if what.parse::<u64>().is_ok() {
        format!("/v1/moves/{what}/why")
    } else {
        let site: View = place.client()?.get("/v1/site").await?;
        let is_host = site.hosts.iter().any(|host| host.host.as_str() == what);
        let kind = if is_host { "hosts" } else { "functions" };
        let unknown = !is_host && site.functions.iter().all(|f| f.vm.as_str() != what);
        if unknown {
            return Err(ClientError::Refused {
                why: format!("{what:?} is no function, no host, and not the number of a move"),
            });
        }
        format!("/v1/{kind}/{what}/why")
    };
    place
        .show(&path, |told: &Explained| told.lines.join("\n"))
        .await
}

async fn approve(place: &Place, function: &VmName) -> Result<(), ClientError> {
    let status: Status = place.client()?.get("/v1/status").await?;
    let found = status.recommended.into_iter().find(|r| r.vm == *function);
    let Some(recommended) = found else {
        return Err(ClientError::Refused {
            why: format!(
                "no move of {function} waits for approval; `forestall why {function}` says why"
            ),
        });
    };
    let path = format!("/v1/functions/{function}/approve");
    let body = json!({ "target": recommended.target });
    place.change(&path, &body, begun).await
}

fn begun(begun: &MoveView) -> String {
    format!(
        "move {} of {} from {} to {} has begun; `forestall why {}` follows it",
        begun.migration, begun.vm, begun.source, begun.target, begun.migration
    )
}

fn status(status: &Status) -> String {
    let up = status.at_us.since(status.begun_at_us).as_secs();
    let trust = serde_json::to_value(status.trust).unwrap_or_default();
    let mut text = format!(
        "forestall {}, up {up} s, policy {}, trust {}, {}\nhosts: {} fresh, {} stale, {} silent; functions: {}; viewers that report: {}\n",
        status.version,
        status.policy,
        trust.as_str().unwrap_or("unknown"),
        if status.armed { "armed" } else { "DISARMED" },
        status.hosts_fresh,
        status.hosts_stale,
        status.hosts_silent,
        status.functions,
        status.viewers,
    );
    for open in &status.moves {
        let progress = status.progress.get(&open.migration);
        let progress = progress.map(explain::of_progress);
        let progress = progress.map_or_else(String::new, |words| format!(", {words}"));
        text += &format!(
            "move {} of {} from {} to {}: {}{progress}\n",
            open.migration, open.vm, open.source, open.target, open.stage
        );
    }
    for waits in &status.recommended {
        text += &format!(
            "waits for approval: {} from {} to {} (`forestall approve {}`)\n",
            waits.vm, waits.source, waits.target, waits.vm
        );
    }
    if let Some(off_s) = status.clock_off_s {
        text +=
            &format!("the system's clock was set: it is {off_s:+.1} s off the orchestrator's\n");
    }
    for note in &status.discovery {
        text += &format!("discovery: {note}\n");
    }
    for vm in &status.given_up {
        text += &format!(
            "needs a person: {vm} (`forestall why {vm}`, then `forestall release {vm}`)\n"
        );
    }
    text
}

fn hosts(hosts: &[HostStatus]) -> String {
    let rows = hosts.iter().map(|status| {
        let host = &status.view;
        let evidence = &host.evidence;
        let percent =
            |share: Option<f64>| share.map_or("-".into(), |s| format!("{:.1} %", s * 100.0));
        let freshness = match host.freshness {
            Freshness::Fresh => "fresh",
            Freshness::Stale => "stale",
            Freshness::Silent => "silent",
        };
        let reaches = evidence.forecast.and_then(|forecast| forecast.knee_at_us);
        let names: Vec<&str> = host.functions.iter().map(VmName::as_str).collect();
        let holding = host.holding.as_ref();
        let holding = holding.map_or("a function is leaving".into(), |reason| {
            explain::of_hold(Timestamp::now(), reason)
        });
        [
            host.host.to_string(),
            freshness.into(),
            percent(evidence.utilization.map(|load| load.share())),
            evidence
                .sample_age_ms
                .map_or("-".into(), |ms| format!("{:.1} s", ms / 1e3)),
            knee(status),
            reaches.map_or("-".into(), |at| {
                format!("{:+.0} s", at.seconds_after(Timestamp::now()))
            }),
            names.join(" "),
            format!(
                "{}{holding}",
                if host.draining {
                    "(being emptied) "
                } else {
                    ""
                }
            ),
        ]
    });
    table(
        [
            "host",
            "samples",
            "load",
            "age",
            "knee",
            "reached in",
            "functions",
            "nothing leaves it, since",
        ],
        rows,
    )
}

/// A host's knee, and who says so where it is not the configuration.
fn knee(status: &HostStatus) -> String {
    let evidence = &status.view.evidence;
    let knee = evidence.knee.map_or("-".into(), |knee| knee.to_string());
    let Some(taught) = &status.taught else {
        return knee;
    };
    match (taught.since_us, taught.late_at_any_load_from) {
        (Some(since), _) => {
            let minutes = Timestamp::now().since(since).as_secs() / 60;
            format!(
                "{knee} (learned {minutes} min ago, {} reports)",
                taught.reports
            )
        }
        (None, Some(_)) => format!("{knee} (late at any load)"),
        (None, None) => knee,
    }
}

fn functions(functions: &[FunctionStatus]) -> String {
    let rows = functions.iter().map(|function| {
        let view: &FunctionView = &function.view;
        let state = match (view.given_up, view.migration, view.cooldown_until_us) {
            (true, ..) => "needs a person".into(),
            (_, Some(migration), _) => format!("move {migration}"),
            (.., Some(until)) => {
                format!("rests {:.0} s", until.seconds_after(Timestamp::now()))
            }
            _ => "free".into(),
        };
        let doubt = view.doubt.as_ref().filter(|_| !view.given_up);
        let state = doubt.map_or(state, |doubt| format!("in doubt: {}", doubt.verdict));
        let seen = function.seen.as_ref().map_or("-".into(), |seen| {
            let elsewhere = if seen.verdict == Verdict::Split {
                ", and elsewhere"
            } else {
                ""
            };
            format!("{:?}{elsewhere}", seen.residency).to_lowercase()
        });
        [
            view.vm.to_string(),
            view.host.to_string(),
            seen,
            view.viewers.to_string(),
            function
                .viewed
                .as_ref()
                .and_then(|viewed| viewed.picture_age_ms)
                .map_or("-".into(), |age| format!("{:.0} ms", age.p95)),
            load(view),
            move_takes(function),
            state,
        ]
    });
    table(
        [
            "function",
            "host",
            "seen there",
            "viewers",
            "picture age",
            "load",
            "move takes",
            "state",
        ],
        rows,
    )
}

/// What a function brings to a host, and who says so.
fn load(view: &FunctionView) -> String {
    let by = view.load_measured_at_us.map_or_else(
        || "configured".into(),
        |at| format!("{} s ago", Timestamp::now().since(at).as_secs()),
    );
    format!("{:.1} % ({by})", view.load * 100.0)
}

/// How long a move of a function takes, and by what moves, where that was learned.
fn move_takes(function: &FunctionStatus) -> String {
    let takes = format!("{:.1} s", function.view.migration_ms / 1e3);
    let Some(learned) = &function.learned else {
        return takes;
    };
    let moves = learned.migrations_ms.len();
    let last = learned.last_at_us.map_or_else(String::new, |at| {
        let minutes = Timestamp::now().since(at).as_secs() / 60;
        format!(", the last {minutes} min ago")
    });
    format!("{takes} (moves seen: {moves}{last})")
}

fn moves(moves: &[MoveRecord]) -> String {
    let s = |ms: Option<f64>| ms.map_or("-".into(), |ms| format!("{:.1} s", ms / 1e3));
    let rows = moves.iter().map(|record| {
        let cause = serde_json::to_value(record.cause).unwrap_or_default();
        [
            record.migration.to_string(),
            record.vm.to_string(),
            format!("{} > {}", record.source, record.target),
            cause.as_str().unwrap_or("-").to_owned(),
            s(record.predicted_ms),
            s(record.took_ms),
            s(record.margin_ms),
            record
                .engine_downtime_ms
                .map_or("-".into(), |ms| format!("{ms:.0} ms")),
            record.verdict.map_or_else(
                || open(record.progress.as_ref()),
                |verdict| verdict.to_string(),
            ),
        ]
    });
    table(
        [
            "move",
            "function",
            "from > to",
            "cause",
            "predicted",
            "took",
            "margin",
            "downtime",
            "verdict",
        ],
        rows,
    )
}

/// Of a move without a verdict, how far copying is where the engine says it.
fn open(progress: Option<&CopyProgress>) -> String {
    let words = progress.map(explain::of_progress);
    words.map_or_else(|| "open".into(), |words| format!("open: {words}"))
}

/// Columns as wide as their widest text.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned))
        .chain(rows)
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text += line.trim_end();
        text.push('\n');
    }
    text
}
