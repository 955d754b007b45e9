//! What is asked for, and what the values of an answer say.
//!
//! Two places tell of a host's CPU. UCD-SNMP-MIB's `ssCpuRaw*` are counters, whose differences are the load between two
//! refreshes. HOST-RESOURCES-MIB's `hrProcessorLoad` is a mean over the last minute (it reads 40 % while the counters say
//! 99 %), so it is asked only where the counters are absent.

use async_snmp::{GetBulkPdu, Oid, Pdu, RequestPdu, Value, VarBind, Version};
use record::Utilization;

/// `sysUpTime.0`, hundredths of a second since the agent started.
pub(crate) const UP_TIME: [u32; 9] = [1, 3, 6, 1, 2, 1, 1, 3, 0];
/// Column of `hrProcessorLoad`, percent of the last minute, a row for each processor.
pub(crate) const PROCESSOR_LOAD: [u32; 11] = [1, 3, 6, 1, 2, 1, 25, 3, 3, 1, 2];
/// `ssCpuRaw*` that tell of work: user, nice, system, interrupt, soft interrupt, stolen by a hypervisor; none of them is part
/// of another (seen on net-snmp 5.9.3 with a made-up /proc/stat). Every agent that has the counters has user and system.
pub(crate) const BUSY: [u32; 6] = [50, 51, 52, 56, 61, 64];
/// `ssCpuRawIdle`, which every agent has that has the counters, and `ssCpuRawWait`: waiting for a disk is not work.
pub(crate) const IDLE: [u32; 2] = [53, 54];
/// Rows of `hrProcessorLoad` in one answer: they fit into one Ethernet frame, encrypted too.
const ROWS_MAX: usize = 32;
/// More processors are not a host but an agent that never ends.
const PROCESSORS_MAX: u32 = 16_384;

/// An object of UCD-SNMP-MIB's `systemStats`, `.0`.
pub(crate) const fn system_stat(object: u32) -> [u32; 10] {
    [1, 3, 6, 1, 4, 1, 2021, 11, object, 0]
}

/// One answer of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// `sysUpTime`, hundredths of a second since the agent started; wraps after 497 days.
    pub up_time: u32,
    /// How often the agent has been started, where SNMPv3 proves it.
    pub boots: Option<u32>,
    /// The load.
    pub load: Load,
}

/// Load of a host as the agent tells it.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// Counters since boot.
    Ticks(Ticks),
    /// Mean over the last minute and all processors.
    OneMinute(Utilization),
}

/// Hundredths of a second, all processors added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticks {
    /// Spent in user, nice, system, interrupt and soft-interrupt mode, or stolen by a hypervisor; absent is not 0.
    pub busy: [Option<Count>; BUSY.len()],
    /// Spent idle and waiting for a disk.
    pub idle: [Option<Count>; IDLE.len()],
}

/// A counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Wraps after 2^32.
    Bits32(u32),
    /// Wraps after 2^64.
    Bits64(u64),
}

/// What is asked of an agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Question {
    /// The counters.
    Ticks,
    /// The rows of `hrProcessorLoad` that come after those already seen.
    Processors(Box<Rows>),
}

/// Rows of `hrProcessorLoad` seen so far.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rows {
    last: Oid,
    count: u32,
    percent: u64,
}

/// What an answer to a question comes to.
#[derive(Debug, PartialEq)]
pub(crate) enum Content {
    /// All that was wanted: the up-time and the load.
    Load(u32, Load),
    /// There are more rows to ask for.
    More(Question),
    /// The agent has no such objects.
    Absent,
}

/// Values that no honest agent sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Nonsense(pub(crate) String);

impl Question {
    /// The question for the first row of `hrProcessorLoad`.
    pub(crate) fn processors() -> Self {
        Self::Processors(Box::new(Rows {
            last: Oid::from_slice(&PROCESSOR_LOAD),
            count: 0,
            percent: 0,
        }))
    }

    /// As a request with this number.
    pub(crate) fn pdu(&self, version: Version, id: i32) -> async_snmp::Result<Pdu> {
        match self {
            Self::Ticks => {
                let objects = BUSY.iter().chain(&IDLE).map(|object| system_stat(*object));
                let oids: Vec<Oid> = std::iter::once(Oid::from_slice(&UP_TIME))
                    .chain(objects.map(|object| Oid::from_slice(&object)))
                    .collect();
                Ok(RequestPdu::get(version, id, &oids)?.into_raw())
            }
            Self::Processors(rows) => {
                // The object that follows `sysUpTime` is `sysUpTime.0`.
                let up_time = Oid::from_slice(&UP_TIME[..UP_TIME.len() - 1]);
                let varbinds = vec![VarBind::null(up_time), VarBind::null(rows.last.clone())];
                Ok(GetBulkPdu::new(version, id, 1, ROWS_MAX as u32, varbinds)?.into_raw())
            }
        }
    }

    /// Reads the answer to it.
    pub(crate) fn read(self, varbinds: &[VarBind]) -> Result<Content, Nonsense> {
        let up_time = value(varbinds, &UP_TIME);
        let up_time = match up_time {
            Some(Value::TimeTicks(ticks)) => *ticks,
            Some(other) => return Err(Nonsense(format!("sysUpTime is of type {}", other.kind()))),
            None => return Err(Nonsense("the answer has no sysUpTime".into())),
        };
        match self {
            Self::Ticks => Ok(read_ticks(varbinds)?.map_or(Content::Absent, |ticks| {
                Content::Load(up_time, Load::Ticks(ticks))
            })),
            Self::Processors(rows) => rows.read(up_time, &varbinds[1.min(varbinds.len())..]),
        }
    }
}

fn value<'a>(varbinds: &'a [VarBind], oid: &[u32]) -> Option<&'a Value> {
    varbinds
        .iter()
        .find(|varbind| varbind.oid.arcs() == oid)
        .map(|varbind| &varbind.value)
        .filter(|value| !value.is_exception())
}

/// The counters; none where user, system or idle is absent, since without them there is no share.
fn read_ticks(varbinds: &[VarBind]) -> Result<Option<Ticks>, Nonsense> {
    let mut ticks = Ticks::default();
    let places = ticks.busy.iter_mut().zip(BUSY);
    for (place, object) in places.chain(ticks.idle.iter_mut().zip(IDLE)) {
        *place = match value(varbinds, &system_stat(object)) {
            None => None,
            Some(Value::Counter32(count)) => Some(Count::Bits32(*count)),
            Some(Value::Counter64(count)) => Some(Count::Bits64(*count)),
            Some(other) => {
                let kind = other.kind();
                return Err(Nonsense(format!("systemStats.{object} is of type {kind}")));
            }
        };
    }
    let [user, _, system, ..] = ticks.busy;
    let whole = user.is_some() && system.is_some() && ticks.idle[0].is_some();
    Ok(whole.then_some(ticks))
}

impl Rows {
    fn read(mut self, up_time: u32, varbinds: &[VarBind]) -> Result<Content, Nonsense> {
        let mut ended = varbinds.len() < ROWS_MAX;
        for varbind in varbinds.iter().take(ROWS_MAX) {
            if !varbind.oid.arcs().starts_with(&PROCESSOR_LOAD) || varbind.value.is_exception() {
                ended = true;
                break;
            }
            if varbind.oid <= self.last {
                return Err(Nonsense("hrProcessorLoad runs in circles".into()));
            }
            match varbind.value {
                Value::Integer(percent @ 0..=100) => self.percent += percent as u64,
                Value::Integer(percent) => {
                    return Err(Nonsense(format!("hrProcessorLoad is {percent} %")));
                }
                ref other => {
                    let kind = other.kind();
                    return Err(Nonsense(format!("hrProcessorLoad is of type {kind}")));
                }
            }
            self.last = varbind.oid.clone();
            self.count += 1;
        }
        if !ended {
            if self.count >= PROCESSORS_MAX {
                return Err(Nonsense(format!("more than {PROCESSORS_MAX} processors")));
            }
            return Ok(Content::More(Question::Processors(Box::new(self))));
        }
        if self.count == 0 {
            return Ok(Content::Absent);
        }
        let share = self.percent as f64 / 100.0 / f64::from(self.count);
        let load = Load::OneMinute(Utilization::clamped(share));
        Ok(Content::Load(up_time, load))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varbind(oid: &[u32], value: Value) -> VarBind {
        VarBind::new(Oid::from_slice(oid), value)
    }

    fn up_time() -> VarBind {
        varbind(&UP_TIME, Value::TimeTicks(700))
    }

    fn ticks(values: &[(u32, Value)]) -> Result<Content, Nonsense> {
        let stats = values
            .iter()
            .map(|(object, value)| varbind(&system_stat(*object), value.clone()));
        let varbinds: Vec<VarBind> = std::iter::once(up_time()).chain(stats).collect();
        Question::Ticks.read(&varbinds)
    }

    fn loads(question: Question, first: u32, percents: &[i32]) -> Result<Content, Nonsense> {
        let row = |(index, percent): (usize, &i32)| {
            let oid = Oid::from_slice(&PROCESSOR_LOAD).child(first + index as u32);
            VarBind::new(oid, Value::Integer(*percent))
        };
        let rows = percents.iter().enumerate().map(row);
        let varbinds: Vec<VarBind> = std::iter::once(up_time()).chain(rows).collect();
        question.read(&varbinds)
    }

    #[test]
    fn absent_is_not_zero() {
        let count = || Value::Counter32(7);
        let content = ticks(&[
            (50, count()),
            (51, Value::NoSuchInstance),
            (52, count()),
            (53, Value::Counter64(1 << 40)),
        ]);
        let Ok(Content::Load(700, Load::Ticks(found))) = content else {
            panic!("{content:?}");
        };
        let seven = Some(Count::Bits32(7));
        assert_eq!(found.busy, [seven, None, seven, None, None, None]);
        assert_eq!(found.idle, [Some(Count::Bits64(1 << 40)), None]);
        let no_system = ticks(&[(50, count()), (52, Value::NoSuchObject), (53, count())]);
        assert_eq!(no_system, Ok(Content::Absent));
        assert_eq!(ticks(&[]), Ok(Content::Absent));
    }

    #[test]
    fn nonsense() {
        for (object, value) in [
            (50, Value::Integer(-7)),
            (53, Value::OctetString("7".into())),
            (54, Value::Null),
        ] {
            let refused = ticks(&[(object, value)]).unwrap_err();
            assert!(refused.0.contains("is of type"), "{refused:?}");
        }
        for percent in [-1, 101, 140] {
            let refused = loads(Question::processors(), 1, &[50, percent]).unwrap_err();
            assert!(refused.0.contains('%'), "{refused:?}");
        }
        assert!(Question::Ticks.read(&[]).is_err());
    }

    #[test]
    fn any_number_of_processors() {
        let one = loads(Question::processors(), 196_608, &[40]).unwrap();
        let share = |share| Load::OneMinute(Utilization::new(share).unwrap());
        assert_eq!(one, Content::Load(700, share(0.4)));
        let first = loads(Question::processors(), 1, &[100; ROWS_MAX]).unwrap();
        let Content::More(more) = first else {
            panic!("{first:?}");
        };
        let rest = loads(more, 1 + ROWS_MAX as u32, &[0; ROWS_MAX - 1]).unwrap();
        let mean = ROWS_MAX as f64 / (2 * ROWS_MAX - 1) as f64;
        assert_eq!(rest, Content::Load(700, share(mean)));
        assert_eq!(loads(Question::processors(), 1, &[]), Ok(Content::Absent));
    }

    #[test]
    fn an_agent_that_runs_in_circles_is_left() {
        let first = loads(Question::processors(), 1, &[1; ROWS_MAX]).unwrap();
        let Content::More(more) = first else {
            panic!("{first:?}");
        };
        assert!(loads(more, 1, &[1; ROWS_MAX]).is_err());
    }

    #[test]
    fn an_agent_without_end_is_left() {
        let mut question = Question::processors();
        let mut first = 1;
        let refused = loop {
            match loads(question, first, &[1; ROWS_MAX]) {
                Ok(Content::More(more)) => question = more,
                other => break other,
            }
            first += ROWS_MAX as u32;
        };
        assert!(refused.is_err(), "{refused:?}");
    }
}
