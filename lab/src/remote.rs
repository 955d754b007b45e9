//! Machines of an inventory, as the lab sees them: each reached by ssh, and asked ([`crate::stand`]).

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use record::{HostName, Timestamp};
use scenario::{Inventory, LabScenario, Role};
use serde::Serialize;

use crate::check::{self, Accelerator};
use crate::error::{LabError, file, unless_interrupted};
use crate::guest::Guest;
use crate::process::Process;
use crate::ssh::{Connection, Way};
use crate::stand::{Answer, Ask, MachineOffer, Part};

/// A question is answered within this: a processor is tried with a guest for 10 s, and as long everything in a group is being killed.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// All that a machine did for the lab has ended within this.
const CLEARED_WITHIN: Duration = Duration::from_secs(20);
/// How often a clock is asked; the quickest answer tells most.
const CLOCK_LOOKS: usize = 10;
/// What the player's clock may be off this machine's. Delays are told by the player's machine alone; but when load rose and moves were
/// decided is told by this one, and compared with what was seen when.
const CLOCK_OFF_MAX_MS: f64 = 20.0;

/// How a clock stands to this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClockOffset {
    /// By how much it is ahead.
    pub ahead_ms: f64,
    /// What this may be wrong by: half of the round trip in which it was read.
    pub uncertain_ms: f64,
}

impl ClockOffset {
    /// From a reading of the other clock between two of this one.
    fn between(before: Timestamp, there: Timestamp, after: Timestamp) -> Self {
        let half = after.seconds_after(before) / 2.0;
        Self {
            ahead_ms: (there.seconds_after(before) - half) * 1e3,
            uncertain_ms: half * 1e3,
        }
    }

    /// The most that it may be off.
    fn off_ms(self) -> f64 {
        self.ahead_ms.abs() + self.uncertain_ms
    }

    /// An error when a delay could be told from nothing by it.
    ///
    /// # Errors
    /// [`LabError::Clock`].
    pub fn require(self, machine: &str) -> Result<(), LabError> {
        if self.off_ms() <= CLOCK_OFF_MAX_MS {
            return Ok(());
        }
        Err(LabError::Clock {
            machine: machine.to_owned(),
            ahead_ms: self.ahead_ms,
            uncertain_ms: self.uncertain_ms,
            most_ms: CLOCK_OFF_MAX_MS,
        })
    }
}

/// A machine that answers. When it is dropped, all that it did for the lab ends.
#[derive(Debug)]
pub struct Remote {
    // Before the connection, through which it goes.
    talk: Mutex<Talk>,
    connection: Connection,
}

#[derive(Debug)]
struct Talk {
    process: Process,
    answers: Receiver<String>,
    /// Set when an answer did not come: the next that comes may be that one.
    is_over: bool,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.process.end_within(CLEARED_WITHIN);
    }
}

impl Remote {
    /// Reaches a machine by whom `ssh` is told, `host` in the scenario. What belongs to the connection is kept in `state`.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn reach(target: &str, state: &Path, host: &HostName) -> Result<Self, LabError> {
        let connection = Connection::open(target, state, host.as_str())?;
        let way = connection.way();
        let argv = [way.program(), "lab", "stand"].map(String::from);
        let log = state.join(format!("stand-{host}.log"));
        let errors = File::create(&log).map_err(file(&log))?;
        let streams = (Stdio::piped(), Stdio::piped(), errors);
        let name = format!("lab stand on {target}");
        let mut process = Process::spawn(name, &way.command(&argv), streams, &log)?;
        let (heard, answers) = mpsc::channel();
        let said = process.take_output();
        std::thread::spawn(move || {
            let lines = said
                .into_iter()
                .flat_map(|said| BufReader::new(said).lines());
            // It has ended when no more can be read, and nobody listens when the lab does.
            for line in lines.map_while(Result::ok) {
                if heard.send(line).is_err() {
                    break;
                }
            }
        });
        let talk = Talk {
            process,
            answers,
            is_over: false,
        };
        Ok(Self {
            talk: Mutex::new(talk),
            connection,
        })
    }

    /// The way to it.
    #[must_use]
    pub const fn way(&self) -> &Way {
        self.connection.way()
    }

    fn failed(&self, why: String) -> LabError {
        LabError::Program {
            what: format!("what {} was asked for", self.way().target()),
            why,
        }
    }

    pub(crate) fn misunderstood(&self, answer: &Answer) -> LabError {
        self.failed(format!("it answered something else: {answer:?}"))
    }

    /// Asks it.
    ///
    /// # Errors
    /// When it refuses, or does not answer.
    pub(crate) fn ask(&self, ask: &Ask) -> Result<Answer, LabError> {
        let talk = self.talk.lock();
        let mut talk = talk.map_err(|_| self.failed("the lab panicked while it asked".into()))?;
        if talk.is_over {
            return Err(self.failed("an earlier question was not answered".into()));
        }
        let line = serde_json::to_string(ask).map_err(|error| self.failed(error.to_string()))?;
        let said = talk.process.say(&(line + "\n"));
        let ended = |talk: &Talk| self.failed(format!("it has ended: {}", talk.process.said()));
        if said.is_err() {
            return Err(ended(&talk));
        }
        match talk.answers.recv_timeout(ANSWERS_WITHIN) {
            Ok(line) => match serde_json::from_str(&line) {
                Ok(Answer::Refused(why)) => Err(self.failed(why)),
                Ok(answer) => Ok(answer),
                Err(error) => Err(self.failed(format!("{error}: {line}"))),
            },
            Err(RecvTimeoutError::Disconnected) => Err(ended(&talk)),
            Err(RecvTimeoutError::Timeout) => {
                talk.is_over = true;
                Err(LabError::Late {
                    what: format!("an answer of {}", self.way().target()),
                    seconds: ANSWERS_WITHIN.as_secs_f64(),
                    hint: talk.process.said(),
                })
            }
        }
    }

    /// Tells it to do something.
    ///
    /// # Errors
    /// As [`Remote::ask`].
    pub(crate) fn order(&self, ask: &Ask) -> Result<(), LabError> {
        match self.ask(ask)? {
            Answer::Done => Ok(()),
            other => Err(self.misunderstood(&other)),
        }
    }

    fn look(&self, part: &Part) -> Result<MachineOffer, LabError> {
        match self.ask(&Ask::Look(part.clone()))? {
            Answer::Offer(offer) => Ok(offer),
            other => Err(self.misunderstood(&other)),
        }
    }

    /// Has the files of a guest there.
    pub(crate) fn bring(&self, guest: &Guest) -> Result<Guest, LabError> {
        let way = self.way();
        Ok(Guest {
            kernel: way.bring(&guest.kernel)?,
            initramfs: way.bring(&guest.initramfs)?,
            root: way.bring(&guest.root)?,
        })
    }

    fn accelerate(&self, guest: &Guest) -> Result<(Option<Accelerator>, String), LabError> {
        match self.ask(&Ask::Accelerate(guest.clone()))? {
            Answer::Accelerator(accelerator, note) => Ok((accelerator, note)),
            other => Err(self.misunderstood(&other)),
        }
    }

    /// How its clock stands to this machine's.
    ///
    /// # Errors
    /// As [`Remote::ask`].
    pub fn clock(&self) -> Result<ClockOffset, LabError> {
        let mut best: Option<ClockOffset> = None;
        for _ in 0..CLOCK_LOOKS {
            let before = Timestamp::now();
            let Answer::Now(there) = self.ask(&Ask::Now)? else {
                return Err(self.failed("it did not say what time it is".into()));
            };
            let found = ClockOffset::between(before, there, Timestamp::now());
            if best.is_none_or(|best| found.uncertain_ms < best.uncertain_ms) {
                best = Some(found);
            }
        }
        best.ok_or_else(|| self.failed("nobody asked what time it is".into()))
    }
}

/// A machine of an inventory, and what it is in a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Station {
    target: String,
    hosts: Vec<HostName>,
    part: Part,
}

/// All machines of an inventory, edge servers first.
fn stations(scenario: &LabScenario, inventory: &Inventory) -> Vec<Station> {
    let bound = |role: Role| {
        let names = scenario.hosts_of(role).map(|(name, _)| name);
        names.filter_map(move |name| Some((name, inventory.hosts.get(name)?)))
    };
    let edge = |(name, binding): (&HostName, &scenario::inventory::Binding)| {
        let part = Part::Edge {
            host: name.clone(),
            data: *binding.data.get_ref(),
            management: *binding.management.as_ref()?.get_ref(),
            bridge: binding.bridge.as_ref()?.get_ref().clone(),
            load_weight: scenario.competition.load_weight,
        };
        Some(Station {
            target: binding.ssh.get_ref().clone(),
            hosts: vec![name.clone()],
            part,
        })
    };
    let mut stations: Vec<Station> = bound(Role::Edge).filter_map(edge).collect();
    // Camera and player are on one machine: the inventory is refused otherwise.
    let ends: Vec<_> = bound(Role::Robot).chain(bound(Role::User)).collect();
    if let Some((_, binding)) = ends.first() {
        let data = ends.iter().map(|(_, binding)| *binding.data.get_ref());
        stations.push(Station {
            target: binding.ssh.get_ref().clone(),
            hosts: ends.iter().map(|(name, _)| (*name).clone()).collect(),
            part: Part::Ends {
                data: data.collect(),
            },
        });
    }
    stations
}

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<&str> = self.hosts.iter().map(HostName::as_str).collect();
        write!(f, "{} ({})", self.target, hosts.join(", "))
    }
}

/// What runs guests, and on which processor where that matters. A guest moves between edge servers of one kind.
type Kind = (Accelerator, Option<String>);

/// A guest that KVM runs sees the processor itself, and cannot go on with another.
fn kind(accelerator: Accelerator, offer: &MachineOffer) -> Kind {
    let is_seen = accelerator == Accelerator::Kvm;
    (accelerator, is_seen.then(|| offer.processor.clone()))
}

/// A machine that has what its part needs, and has made it stand.
#[derive(Debug)]
pub struct Member {
    station: Station,
    /// The machine.
    pub remote: Arc<Remote>,
    /// What it offers.
    pub offer: MachineOffer,
    /// What runs guests there, and why it is that; nothing where no guest runs.
    guests: Option<(Accelerator, String)>,
}

impl Member {
    fn reach(station: Station, guest: &Guest, state: &Path) -> Result<Self, LabError> {
        let name = station.hosts.first();
        let name = name.ok_or_else(|| LabError::Missing(format!("a host of {station}")))?;
        let remote = Remote::reach(&station.target, state, name)?;
        let offer = remote.look(&station.part)?;
        if !offer.missing.is_empty() {
            return Err(LabError::Missing(format!(
                "{station} lacks {}",
                offer.missing.join("; ")
            )));
        }
        let guests = match station.part {
            Part::Ends { .. } => {
                remote.order(&Ask::Stand(station.part.clone(), None))?;
                None
            }
            Part::Edge { .. } => {
                let there = remote.bring(guest)?;
                let stand = Ask::Stand(station.part.clone(), Some(there.clone()));
                remote.order(&stand)?;
                let (accelerator, note) = remote.accelerate(&there)?;
                let accelerator = accelerator.ok_or_else(|| {
                    LabError::Missing(format!("what runs guests on {station}: {note}"))
                })?;
                Some((accelerator, note))
            }
        };
        Ok(Self {
            station,
            remote: Arc::new(remote),
            offer,
            guests,
        })
    }

    /// What runs guests there; nothing where no guest runs.
    #[must_use]
    pub fn accelerator(&self) -> Option<Accelerator> {
        self.guests.as_ref().map(|(accelerator, _)| *accelerator)
    }

    fn kind(&self) -> Option<Kind> {
        Some(kind(self.accelerator()?, &self.offer))
    }

    /// Why it is that.
    #[must_use]
    pub fn accelerator_note(&self) -> &str {
        self.guests.as_ref().map_or("", |(_, note)| note)
    }

    /// The hosts that it is.
    #[must_use]
    pub fn hosts(&self) -> &[HostName] {
        &self.station.hosts
    }

    /// The core that is the edge server.
    #[must_use]
    pub fn core(&self) -> usize {
        self.offer.cores.last().copied().unwrap_or_default()
    }

    /// It in words: what a calibration depends on.
    #[must_use]
    pub fn in_words(&self) -> String {
        let cores = self.offer.cores.len();
        let what = format!(
            "{}: {} with {cores} cores",
            self.station, self.offer.processor
        );
        match self.accelerator() {
            Some(accelerator) => format!("{what}, {accelerator}"),
            None => what,
        }
    }
}

/// Reaches all machines of an inventory, and has what their parts need stand there, with the files of a guest.
///
/// # Errors
/// When one cannot be reached or lacks something, another lab runs there, or a guest could not move from one to the other;
/// [`LabError::Interrupted`].
pub fn reach(
    scenario: &LabScenario,
    inventory: &Inventory,
    (guest, state): (&Guest, &Path),
    interrupted: &AtomicBool,
) -> Result<Vec<Member>, LabError> {
    let reach = |station| {
        unless_interrupted(interrupted)?;
        Member::reach(station, guest, state)
    };
    let members = stations(scenario, inventory).into_iter().map(reach);
    let members: Vec<Member> = members.collect::<Result<_, _>>()?;
    let edges = || members.iter().filter(|one| one.accelerator().is_some());
    if let Some(first) = edges().next()
        && let Some(other) = edges().find(|one| one.kind() != first.kind())
    {
        return Err(LabError::Missing(format!(
            "a guest cannot move between edge servers of two kinds: {}; {}",
            first.in_words(),
            other.in_words()
        )));
    }
    Ok(members)
}

/// What was found of a machine.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Whom `ssh` reaches.
    pub machine: String,
    /// Which hosts it is.
    pub hosts: Vec<HostName>,
    /// What it is and has; nothing when it cannot be reached.
    pub offer: Option<MachineOffer>,
    /// What runs guests there; nothing where none runs, or while something is missing.
    pub accelerator: Option<Accelerator>,
    /// How its clock stands to this machine's.
    pub clock: Option<ClockOffset>,
    /// What is wrong with it.
    pub missing: Vec<String>,
}

/// What the machines of an inventory offer.
#[derive(Clone, Debug, Serialize)]
pub struct InventoryOffer {
    /// Whether a lab can run there.
    pub ready: bool,
    /// What is missing on this machine.
    pub missing_here: Vec<String>,
    /// The machines.
    pub machines: Vec<Found>,
}

/// Reaches every machine of an inventory and says what is missing. Leaves this program there, and a guest's files.
#[must_use]
pub fn check(scenario: &LabScenario, inventory: &Inventory, state: &Path) -> InventoryOffer {
    let mut missing_here = check::lacking_to_reach();
    let guest = if missing_here.is_empty() {
        Guest::build(scenario.video.chain)
            .inspect_err(|error| missing_here.push(format!("the guest: {error}")))
            .ok()
    } else {
        None
    };
    let mut machines: Vec<Found> = stations(scenario, inventory)
        .into_iter()
        .map(|station| Found::of(station, guest.as_ref(), state))
        .collect();
    let kinds: Vec<Option<Kind>> = machines.iter().map(Found::kind).collect();
    let first = kinds.iter().flatten().next().cloned();
    for (machine, kind) in machines.iter_mut().zip(kinds) {
        if kind.is_some() && kind != first {
            machine.missing.push(
                "what the first edge server has: a guest cannot move from one accelerator or, with KVM, processor to another"
                    .into(),
            );
        }
    }
    let all = machines.iter().all(|machine| machine.missing.is_empty());
    InventoryOffer {
        ready: all && missing_here.is_empty(),
        missing_here,
        machines,
    }
}

impl Found {
    fn of(station: Station, guest: Option<&Guest>, state: &Path) -> Self {
        let mut found = Self {
            machine: station.target.clone(),
            hosts: station.hosts.clone(),
            offer: None,
            accelerator: None,
            clock: None,
            missing: Vec::new(),
        };
        if let Err(error) = found.look(&station, guest, state) {
            found.missing.push(error.to_string());
        }
        found
    }

    fn kind(&self) -> Option<Kind> {
        Some(kind(self.accelerator?, self.offer.as_ref()?))
    }

    fn look(
        &mut self,
        station: &Station,
        guest: Option<&Guest>,
        state: &Path,
    ) -> Result<(), LabError> {
        let Some(name) = station.hosts.first() else {
            return Ok(());
        };
        let remote = Remote::reach(&station.target, state, name)?;
        let offer = remote.look(&station.part)?;
        self.missing.clone_from(&offer.missing);
        self.offer = Some(offer);
        let clock = remote.clock()?;
        self.clock = Some(clock);
        let Part::Edge { .. } = station.part else {
            return clock.require(&station.target);
        };
        if let (true, Some(guest)) = (self.missing.is_empty(), guest) {
            let there = remote.bring(guest)?;
            let (accelerator, note) = remote.accelerate(&there)?;
            if accelerator.is_none() {
                self.missing.push(note);
            }
            self.accelerator = accelerator;
        }
        Ok(())
    }
}

impl fmt::Display for InventoryOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, missing: &[String]| {
            let missing = if missing.is_empty() {
                "nothing".to_owned()
            } else {
                missing.join("\n           ")
            };
            writeln!(f, "  missing  {missing}")
        };
        writeln!(f, "this machine (orchestrator)")?;
        list(f, &self.missing_here)?;
        for one in &self.machines {
            let hosts: Vec<&str> = one.hosts.iter().map(HostName::as_str).collect();
            writeln!(f, "{} ({})", one.machine, hosts.join(", "))?;
            if let Some(offer) = &one.offer {
                let cores = offer.cores.len();
                writeln!(f, "  machine  {}, {cores} cores", offer.processor)?;
            }
            if let Some(accelerator) = one.accelerator {
                writeln!(f, "  guests   {accelerator}")?;
            }
            if let Some(clock) = one.clock {
                writeln!(
                    f,
                    "  clock    {:+.1} ms to this machine's, give or take {:.1} ms",
                    clock.ahead_ms, clock.uncertain_ms
                )?;
            }
            list(f, &one.missing)?;
        }
        Ok(())
    }
}

/// The machine of each host.
#[must_use]
pub fn by_host(members: &[Member]) -> BTreeMap<HostName, Arc<Remote>> {
    let of = |member: &Member| {
        let remote = Arc::clone(&member.remote);
        let hosts: Vec<HostName> = member.hosts().to_vec();
        hosts
            .into_iter()
            .map(move |host| (host, Arc::clone(&remote)))
    };
    members.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_read_between_two_looks_at_another() {
        let at = |us: u64| Timestamp(1_000_000 + us);
        let offset = |us| ClockOffset::between(at(0), at(us), at(4_000));
        assert!(offset(2_000).ahead_ms.abs() < 1e-6);
        assert!((offset(12_000).ahead_ms - 10.0).abs() < 1e-6);
        assert!((offset(12_000).uncertain_ms - 2.0).abs() < 1e-6);
        offset(12_000).require("desk").unwrap();
        for us in [30_000, 21_000] {
            let error = offset(us).require("desk").unwrap_err().to_string();
            assert!(error.contains("the clock of desk"), "{error}");
        }
        // A reading that is off by more than is allowed says nothing, whatever it is.
        let slow = ClockOffset::between(at(0), at(30_000), at(60_000));
        assert!(slow.require("desk").is_err());
    }

    #[test]
    fn a_guest_of_kvm_stays_on_its_kind_of_processor() {
        let offer = |processor: &str| MachineOffer {
            processor: processor.into(),
            cores: vec![0],
            cgroup_version: Some(2),
            kernel: None,
            qemu: None,
            missing: Vec::new(),
        };
        let (kvm, tcg) = (Accelerator::Kvm, Accelerator::Tcg);
        assert_eq!(kind(tcg, &offer("a")), kind(tcg, &offer("b")));
        assert_ne!(kind(kvm, &offer("a")), kind(kvm, &offer("b")));
        assert_ne!(kind(kvm, &offer("a")), kind(tcg, &offer("a")));
    }

    #[test]
    fn each_machine_has_its_part() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/reallocation");
        let scenario = scenario::Scenario::read(&folder).unwrap();
        let scenario = LabScenario::new(scenario).unwrap();
        let text = r#"
            schema = 1
            function = { data = "192.0.2.100" }
            [hosts]
            robot = { ssh = "desk", data = "192.0.2.21" }
            user = { ssh = "desk", data = "192.0.2.22" }
            edge-user = { ssh = "a", data = "192.0.2.11", management = "198.51.100.11", bridge = "br0" }
            edge-robot = { ssh = "b", data = "192.0.2.12", management = "198.51.100.12", bridge = "br1" }
        "#;
        let inventory = Inventory::parse(Path::new("i.toml"), text, &scenario).unwrap();
        let stations = stations(&scenario, &inventory);
        let words: Vec<String> = stations.iter().map(Station::to_string).collect();
        assert_eq!(
            words,
            ["b (edge-robot)", "a (edge-user)", "desk (robot, user)"]
        );
        let ends = Part::Ends {
            data: vec![[192, 0, 2, 21].into(), [192, 0, 2, 22].into()],
        };
        assert_eq!(stations[2].part, ends);
        let Part::Edge {
            bridge,
            load_weight,
            ..
        } = &stations[0].part
        else {
            panic!("{stations:?}");
        };
        assert_eq!((bridge.as_str(), *load_weight), ("br1", 20));
    }
}
