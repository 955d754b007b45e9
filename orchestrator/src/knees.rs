//! What viewers teach: the load of a host from which their pictures come late, its knee.
//!
//! ```text
//!   report ──► waits for the sample of its time ──► observation (load, late?) ──► Taught ──► Input::Knee
//! ```
//!
//! A report is paired with the sample whose interval has the middle of its while in it: the newest one at hand tells of some seconds
//! before, and on a load that rises it would put the lateness down to too low a load. What all viewers of a function said during one
//! sample is one observation: a sample has one load, and a viewer that says much counts no more than one that says little. It is late
//! when it was for more than half of the viewers, so that one of several with a bad line teaches nothing.
//!
//! What follows from observations is in `knees/taught.rs`.

mod taught;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use control::{Input, Settings};
use record::name::ViewerName;
use record::report::Report;
use record::{HostName, Sample, Timestamp, Utilization, VmName};
use serde::{Deserialize, Serialize};

pub use taught::Taught;

/// The gap of a move, and the backlog that it leaves, are not the load's.
const AFTER_MOVE: Duration = Duration::from_secs(10);
/// A sample that differs by more from the one before is the mean of a step, at whose load nothing was.
const STEADY: f64 = 0.08;
/// So is a mean over longer, in which there may be several.
const INTERVAL_MAX: Duration = Duration::from_secs(30);
/// Reports that wait for a sample of their host; the oldest go first.
const WAITING_MAX: usize = 1024;

/// What viewers have taught of all hosts.
#[derive(Debug)]
pub(crate) struct Knees {
    /// `None`: nothing is learned.
    rule: Option<Rule>,
    hosts: BTreeMap<HostName, Host>,
    /// Hosts of which something else is known than the journal has.
    changed: BTreeSet<HostName>,
}

/// By what a picture is late, and a knee another one.
#[derive(Clone, Copy, Debug)]
struct Rule {
    budget_ms: f64,
    configured: Utilization,
    sample_age_ms_max: f64,
}

#[derive(Debug, Default)]
struct Host {
    taught: Taught,
    waiting: VecDeque<Heard>,
    /// End and load of its last sample.
    last: Option<(Timestamp, f64)>,
}

/// A report, as far as it matters.
#[derive(Debug)]
struct Heard {
    vm: VmName,
    viewer: ViewerName,
    /// Middle of its while.
    at: Timestamp,
    late: bool,
}

/// What is known of a host's knee, beside its value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KneeStatus {
    /// Since when it is another than the configured one; `null` when it is not.
    pub since_us: Option<Timestamp>,
    /// Reports of viewers that are remembered.
    pub reports: u64,
    /// Pictures come late from this load on, and none were seen to come in time below it: that is not put down to the load. `null`
    /// otherwise.
    pub late_at_any_load_from: Option<Utilization>,
}

/// What is known of the knees of hosts whose viewers have said something.
pub type KneeStatuses = BTreeMap<HostName, KneeStatus>;

/// Something that was learned.
#[derive(Debug, PartialEq)]
pub(crate) struct Lesson {
    /// In words, for the log.
    pub(crate) words: String,
    /// What the controller is told; nothing when the knee stays.
    pub(crate) input: Option<Input>,
}

impl Knees {
    /// Goes on with what earlier reports taught. Without a budget, or with a policy that knows no knee, nothing is learned.
    pub(crate) fn new(
        now: Timestamp,
        settings: &Settings,
        budget_ms: Option<f64>,
        known: BTreeMap<HostName, Taught>,
    ) -> Self {
        let rule = settings.policy.knee().zip(budget_ms);
        let rule = rule.map(|(configured, budget_ms)| Rule {
            budget_ms,
            configured,
            sample_age_ms_max: settings.limits.sample_age_ms_max,
        });
        let ours = |(host, taught): &(HostName, Taught)| {
            rule.is_some_and(|rule| rule.budget_ms == taught.budget_ms)
                && settings.hosts.contains(host)
        };
        let host = |(name, taught)| {
            let host = Host {
                taught,
                ..Host::default()
            };
            (name, host)
        };
        let mut knees = Self {
            rule,
            hosts: known.into_iter().filter(ours).map(host).collect(),
            changed: BTreeSet::new(),
        };
        // Another knee may be configured now.
        knees.expire(now);
        knees
    }

    /// What a new controller is told of what earlier reports taught.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let knee = |(name, host): (&HostName, &Host)| {
            let (knee, _) = host.taught.knee?;
            Some(told(name, knee))
        };
        self.hosts.iter().filter_map(knee).collect()
    }

    /// Takes a report about a function that is taken to be on this host.
    pub(crate) fn hear(&mut self, now: Timestamp, name: &HostName, report: &Report) {
        let (Some(rule), Some(age)) = (self.rule, report.picture_age_ms) else {
            return;
        };
        let host = self.hosts.entry(name.clone()).or_default();
        if host.waiting.len() >= WAITING_MAX {
            host.waiting.pop_front();
        }
        let ago_ms = report.ago_ms + report.span_ms / 2.0;
        host.waiting.push_back(Heard {
            vm: report.function.clone(),
            viewer: report.viewer.clone(),
            at: now - Duration::from_secs_f64(ago_ms / 1e3),
            late: age.p95 > rule.budget_ms,
        });
    }

    /// Takes a sample that the controller has taken. `rests_since` is what it says of the host, `runs` whether a function was seen to
    /// run there since.
    pub(crate) fn sampled(
        &mut self,
        now: Timestamp,
        sample: &Sample,
        rests_since: Option<Timestamp>,
        runs: impl Fn(&VmName) -> bool,
    ) -> Option<Lesson> {
        let rule = self.rule?;
        let host = self.hosts.get_mut(&sample.host)?;
        let reading = sample.reading();
        let (begin, end) = (reading.begin(), reading.measured_at_us);
        let load = reading.utilization.share();
        if host.last.is_some_and(|(last, _)| end <= last) {
            return None;
        }
        let before = host.last.replace((end, load));
        let said = host.said_between(begin, end);
        let steady = before.is_some_and(|(_, before)| (load - before).abs() <= STEADY);
        let rested = rests_since.is_some_and(|since| begin >= since + AFTER_MOVE);
        let fresh = reading.age(now).as_secs_f64() * 1e3 <= rule.sample_age_ms_max;
        let short = end.since(begin) <= INTERVAL_MAX;
        if !(steady && rested && fresh && short) {
            return None;
        }
        let mut observed = false;
        for (vm, viewers) in said {
            if runs(&vm) {
                let late = viewers.values().filter(|(late, all)| late * 2 > *all);
                let late = late.count() * 2 > viewers.len();
                let reports = viewers.values().map(|(_, all)| all).sum();
                host.taught.observe(now, load, late, reports);
                observed = true;
            }
        }
        if !observed {
            return None;
        }
        host.taught.budget_ms = rule.budget_ms;
        self.changed.insert(sample.host.clone());
        self.conclude(now, &sample.host)
    }

    /// Forgets what is old; call it now and then.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Lesson> {
        let names: Vec<HostName> = self.hosts.keys().cloned().collect();
        let lessons = names.iter().filter_map(|name| {
            let taught = &mut self.hosts.get_mut(name)?.taught;
            if taught.expire(now) {
                self.changed.insert(name.clone());
            }
            self.conclude(now, name)
        });
        lessons.collect()
    }

    /// A person has what was learned of a host thrown away.
    pub(crate) fn forget(&mut self, name: &HostName) {
        if let Some(host) = self.hosts.get_mut(name) {
            *host = Host::default();
            self.changed.insert(name.clone());
        }
    }

    /// What the journal does not have yet, and has from now on; `None` where nothing is known any more.
    pub(crate) fn take_changed(&mut self) -> Vec<(HostName, Option<Taught>)> {
        let changed = std::mem::take(&mut self.changed);
        let taught = |name: HostName| {
            let host = self.hosts.get(&name);
            let taught = host.map(|host| host.taught.clone());
            (name, taught.filter(|taught| !taught.is_empty()))
        };
        changed.into_iter().map(taught).collect()
    }

    /// What there is to see.
    pub(crate) fn statuses(&self) -> KneeStatuses {
        let status = |(name, host): (&HostName, &Host)| {
            let taught = &host.taught;
            let status = KneeStatus {
                since_us: taught.knee.map(|(_, since)| since),
                reports: taught.reports(),
                late_at_any_load_from: taught.late_from,
            };
            (!taught.is_empty()).then(|| (name.clone(), status))
        };
        self.hosts.iter().filter_map(status).collect()
    }

    /// What follows from what was observed of a host; a lesson when it is something new.
    fn conclude(&mut self, now: Timestamp, name: &HostName) -> Option<Lesson> {
        let rule = self.rule?;
        let taught = &mut self.hosts.get_mut(name)?.taught;
        let fit = taught.fit(rule.configured);
        let before = taught.knee.map(|(knee, _)| knee);
        let late_before = std::mem::replace(&mut taught.late_from, fit.late_from);
        if fit.knee != before {
            self.changed.insert(name.clone());
            taught.knee = fit.knee.map(|knee| (knee, now));
            let (configured, reports) = (rule.configured, taught.reports());
            let knee = fit.knee.unwrap_or(configured);
            let words = format!(
                "the knee of {name} is {knee} from now on, by what {reports} reports of viewers said; before: {}, configured: {configured}",
                before.unwrap_or(configured)
            );
            let input = Some(told(name, knee));
            return Some(Lesson { words, input });
        }
        match (late_before, fit.late_from) {
            (None, Some(from)) => Some(Lesson {
                words: format!(
                    "viewers see pictures of {name} too late from a load of {from} on, and never saw them in time at a lower one: that is \
                     not put down to its load, and teaches no knee"
                ),
                input: None,
            }),
            _ => None,
        }
    }
}

fn told(host: &HostName, knee: Utilization) -> Input {
    Input::Knee {
        host: host.clone(),
        knee: Some(knee),
    }
}

impl Host {
    /// Takes what was said of the time of a sample, and lets go what was said of the time before: of each function and viewer, how
    /// many reports were late, and how many there were.
    fn said_between(
        &mut self,
        begin: Timestamp,
        end: Timestamp,
    ) -> BTreeMap<VmName, BTreeMap<ViewerName, (u32, u32)>> {
        let mut said = BTreeMap::<_, BTreeMap<_, (u32, u32)>>::new();
        for heard in std::mem::take(&mut self.waiting) {
            if heard.at > end {
                self.waiting.push_back(heard);
            } else if heard.at >= begin {
                let viewers = said.entry(heard.vm).or_default();
                let (late, all) = viewers.entry(heard.viewer).or_default();
                *late += u32::from(heard.late);
                *all += 1;
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use record::report::Spread;

    use super::*;
    use crate::Config;

    const FUNCTION: &str = "text-insertion";
    const LATE: f64 = 300.0;
    const IN_TIME: f64 = 60.0;
    /// Agents refresh so often.
    const REFRESH_S: u64 = 5;

    fn settings() -> Settings {
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/forestall.toml");
        Config::read(shipped.as_ref()).unwrap().control
    }

    fn host() -> HostName {
        HostName::new("edge-1").unwrap()
    }

    fn share(share: f64) -> Utilization {
        Utilization::new(share).unwrap()
    }

    fn at(s: u64) -> Timestamp {
        Timestamp((1000 + s) * 1_000_000)
    }

    fn report(viewer: &str, age_ms: Option<f64>) -> Report {
        Report {
            function: VmName::new(FUNCTION).unwrap(),
            viewer: ViewerName::new(viewer).unwrap(),
            ago_ms: 0.0,
            span_ms: 1000.0,
            frames: 30,
            freezes: 0,
            picture_age_ms: age_ms.map(|ms| Spread {
                median: ms,
                p95: ms,
                max: ms,
            }),
            frame_interval_ms: None,
        }
    }

    struct Bench {
        knees: Knees,
        now_s: u64,
        /// What the controller says of the host.
        rests_since: Option<Timestamp>,
        /// Where the function was seen to run.
        runs: bool,
        /// How long a sample is on its way.
        late_s: u64,
        lessons: Vec<Lesson>,
    }

    impl Bench {
        fn new() -> Self {
            Self::with(Some(200.0), BTreeMap::new())
        }

        fn with(budget_ms: Option<f64>, known: BTreeMap<HostName, Taught>) -> Self {
            Self {
                knees: Knees::new(at(0), &settings(), budget_ms, known),
                now_s: 0,
                rests_since: Some(Timestamp(0)),
                runs: true,
                late_s: 0,
                lessons: Vec::new(),
            }
        }

        /// So many samples of a load, and a report of each viewer each second.
        fn see(&mut self, samples: usize, load: f64, viewers: &[(&str, Option<f64>)]) {
            for _ in 0..samples {
                for _ in 0..REFRESH_S {
                    self.now_s += 1;
                    for (viewer, age_ms) in viewers {
                        let report = report(viewer, *age_ms);
                        self.knees.hear(at(self.now_s), &host(), &report);
                    }
                }
                let sample = Sample {
                    host: host(),
                    utilization: share(load),
                    measured_at_us: at(self.now_s),
                    interval_ms: REFRESH_S as f64 * 1e3,
                };
                let runs = self.runs;
                let now = at(self.now_s + self.late_s);
                let lesson = self.knees.sampled(now, &sample, self.rests_since, |_| runs);
                self.lessons.extend(lesson);
            }
        }

        /// One viewer.
        fn one(&mut self, samples: usize, load: f64, age_ms: f64) {
            self.see(samples, load, &[("v", Some(age_ms))]);
        }

        fn knee(&self) -> Option<Utilization> {
            self.knees
                .hosts
                .get(&host())?
                .taught
                .knee
                .map(|(knee, _)| knee)
        }
    }

    /// In time at a low load, late at a higher one; the first sample of each is of a step, or has none before it.
    fn taught() -> Bench {
        let mut bench = Bench::new();
        bench.one(6, 0.3, IN_TIME);
        bench.one(6, 0.75, LATE);
        bench
    }

    #[test]
    fn what_is_late_at_a_higher_load_teaches_a_knee() {
        let mut bench = Bench::new();
        bench.one(6, 0.3, IN_TIME);
        bench.one(5, 0.75, LATE);
        assert_eq!(bench.lessons, [], "not often enough yet");
        bench.one(1, 0.75, LATE);
        let [lesson] = &bench.lessons[..] else {
            panic!("{:?}", bench.lessons);
        };
        assert_eq!(lesson.input, Some(told(&host(), share(0.72))));
        assert!(
            lesson
                .words
                .contains("the knee of edge-1 is 72.0 % from now on, by what 50 reports"),
            "{}",
            lesson.words
        );
        assert_eq!(bench.knees.inputs(), [told(&host(), share(0.72))]);
        let status = bench.knees.statuses()[&host()];
        assert_eq!((status.reports, status.since_us), (50, Some(at(60))));
        bench.one(3, 0.75, LATE);
        assert_eq!(bench.lessons.len(), 1, "what is known is not said again");
    }

    #[test]
    fn late_at_the_lowest_load_is_told_and_teaches_no_knee() {
        let mut bench = Bench::new();
        bench.one(9, 0.3, LATE);
        bench.one(9, 0.75, LATE);
        let [lesson] = &bench.lessons[..] else {
            panic!("{:?}", bench.lessons);
        };
        assert_eq!(lesson.input, None);
        assert!(lesson.words.contains("not put down to its load"));
        let status = bench.knees.statuses()[&host()];
        assert_eq!(status.late_at_any_load_from, Some(share(0.28)));
        assert_eq!(bench.knee(), None);
    }

    #[test]
    fn one_of_several_viewers_teaches_nothing() {
        for (late, knee) in [(1, None), (2, Some(share(0.72)))] {
            let mut bench = Bench::new();
            let viewers = |late| {
                [0, 1, 2].map(|number| {
                    let age = if number < late { LATE } else { IN_TIME };
                    (["a", "b", "c"][number], Some(age))
                })
            };
            bench.see(6, 0.3, &viewers(0));
            bench.see(20, 0.75, &viewers(late));
            assert_eq!(bench.knee(), knee, "{late} of 3");
        }
    }

    #[test]
    fn what_may_not_be_the_loads_teaches_nothing() {
        type Spoil = (&'static str, fn(&mut Bench));
        let spoil: [Spoil; 5] = [
            ("a move is open", |bench| bench.rests_since = None),
            ("a move has just ended", |bench| {
                bench.rests_since = Some(at(1000));
            }),
            ("it was not seen to run there", |bench| bench.runs = false),
            ("the samples are old", |bench| bench.late_s = 13),
            ("the clock is another one's", |bench| bench.now_s = 0),
        ];
        for (what, spoil) in spoil {
            let mut bench = Bench::new();
            bench.one(6, 0.3, IN_TIME);
            spoil(&mut bench);
            bench.one(6, 0.75, LATE);
            assert_eq!(bench.knee(), None, "{what}");
        }
        let mut bench = Bench::new();
        bench.one(6, 0.3, IN_TIME);
        bench.see(20, 0.75, &[("v", None)]);
        assert_eq!(bench.knee(), None, "nobody knows the age");
        let mut bench = Bench::with(None, BTreeMap::new());
        bench.one(6, 0.3, IN_TIME);
        bench.one(6, 0.75, LATE);
        assert!(bench.knees.statuses().is_empty(), "there is no budget");
    }

    #[test]
    fn a_move_ends_before_it_is_learned_again() {
        let mut bench = Bench::new();
        bench.one(6, 0.3, IN_TIME);
        bench.rests_since = Some(at(bench.now_s));
        // Two samples begin within 10 s of its end.
        bench.one(7, 0.75, LATE);
        assert_eq!(bench.knee(), Some(share(0.72)));
        let status = bench.knees.statuses()[&host()];
        assert_eq!(status.reports, 50, "25 of each load");
    }

    #[test]
    fn a_step_is_at_no_load() {
        let mut bench = Bench::new();
        bench.one(6, 0.3, IN_TIME);
        // A job that comes each minute; its beginning falls into a sample.
        for _ in 0..20 {
            bench.one(1, 0.6, LATE);
            bench.one(2, 0.97, LATE);
            bench.one(6, 0.3, IN_TIME);
        }
        assert_eq!(bench.knee(), None);
    }

    #[test]
    fn a_report_counts_for_the_sample_of_its_time() {
        let mut bench = Bench::new();
        bench.one(6, 0.3, IN_TIME);
        // Late pictures are heard of while the newest sample still says 30 %: they wait.
        for second in 1..=4 {
            let now = at(bench.now_s + second);
            bench.knees.hear(now, &host(), &report("v", Some(LATE)));
        }
        let waiting = |bench: &Bench| bench.knees.hosts[&host()].waiting.len();
        assert_eq!(waiting(&bench), 4);
        assert_eq!(bench.knees.statuses()[&host()].reports, 25);
        // And are gone with a sample that begins after them.
        bench.now_s += 4;
        bench.one(1, 0.3, IN_TIME);
        assert_eq!(waiting(&bench), 0);
        assert_eq!(bench.knees.statuses()[&host()].reports, 30);
    }

    #[test]
    fn no_more_waits_than_may() {
        let mut knees = Bench::new().knees;
        for _ in 0..2 * WAITING_MAX {
            knees.hear(at(1), &host(), &report("v", Some(LATE)));
        }
        assert_eq!(knees.hosts[&host()].waiting.len(), WAITING_MAX);
    }

    /// As a restart finds it.
    fn kept(bench: &mut Bench) -> BTreeMap<HostName, Taught> {
        let changed = bench.knees.take_changed().into_iter();
        let kept = changed.filter_map(|(host, taught)| Some((host, taught?)));
        kept.collect()
    }

    #[test]
    fn a_restart_goes_on_with_it() {
        let mut bench = taught();
        let known = kept(&mut bench);
        assert!(bench.knees.take_changed().is_empty(), "once");
        let mut again = Bench::with(Some(200.0), known.clone());
        assert_eq!(again.knees.inputs(), bench.knees.inputs());
        assert_eq!(again.knees.statuses(), bench.knees.statuses());
        again.now_s = bench.now_s;
        again.one(20, 0.75, IN_TIME);
        assert_eq!(again.knee(), None, "and learns on");
        // What was late by another budget is not by this one.
        for budget_ms in [Some(400.0), None] {
            let other = Bench::with(budget_ms, known.clone());
            assert!(other.knees.statuses().is_empty(), "{budget_ms:?}");
        }
    }

    #[test]
    fn a_person_throws_it_away() {
        let mut bench = taught();
        kept(&mut bench);
        bench.knees.forget(&host());
        assert!(bench.knees.inputs().is_empty());
        assert_eq!(bench.knees.take_changed(), [(host(), None)]);
        // Another host's is nothing to it.
        bench.knees.forget(&HostName::new("nowhere").unwrap());
        assert!(bench.knees.take_changed().is_empty());
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut bench = taught();
        kept(&mut bench);
        assert_eq!(bench.knees.expire(at(bench.now_s)), []);
        assert!(bench.knees.take_changed().is_empty());
        let later = at(8 * 24 * 3600);
        let lessons = bench.knees.expire(later);
        let configured = told(&host(), share(0.95));
        assert_eq!(lessons.len(), 1);
        assert_eq!(lessons[0].input, Some(configured));
        assert_eq!(bench.knees.take_changed(), [(host(), None)]);
    }
}
