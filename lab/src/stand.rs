//! What a machine of an inventory does for the lab that reached it: `forestall lab stand`.
//!
//! Questions come in, one a line, and for each goes out a line with its answer. When no more come, all that stands is ended and
//! removed: so nothing stays when the lab is killed, or the line to it is cut.

use std::io::{BufRead, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use record::{HostName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroups, PRECEDENCE, ROOT, WEIGHT};
use crate::check::{self, Accelerator};
use crate::error::{LabError, file};
use crate::guest::Guest;
use crate::monitor::Account;
use crate::network;
use crate::process::run;
use crate::site::{STATE, Site};

/// What a machine is in a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// An edge server.
    Edge {
        /// The host.
        host: HostName,
        /// Its address on the data plane.
        data: Ipv4Addr,
        /// Its address on the management network.
        management: Ipv4Addr,
        /// Its bridge on the data plane.
        bridge: String,
        /// Weight of its background load, with that of the virtual machine as 1.
        load_weight: u32,
    },
    /// That of camera and player.
    Ends {
        /// Addresses on the data plane.
        data: Vec<Ipv4Addr>,
    },
}

/// What the lab asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// What is there for a part? Changes nothing.
    Look(Part),
    /// What runs guests? One of these files is booted for that.
    Accelerate(Guest),
    /// Have what a part needs stand: groups, and for an edge server these files and a port at its bridge.
    Stand(Part, Option<Guest>),
    /// What time is it?
    Now,
    /// Let a group use a share of one CPU, in pieces of one period.
    Limit {
        /// The group.
        group: String,
        /// The share; none takes the limit away.
        share: Option<f64>,
        /// The period.
        period_us: u64,
    },
    /// What have these groups used, and the machine?
    Account(Vec<String>),
    /// End everything in a group of an edge server; it is empty then.
    Renew(String),
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// It was done.
    Done,
    /// What is there.
    Offer(MachineOffer),
    /// What runs guests, and why it is that.
    Accelerator(Option<Accelerator>, String),
    /// The time.
    Now(Timestamp),
    /// What was used.
    Account(Account),
    /// It could not be done.
    Refused(String),
}

/// What a machine offers to a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineOffer {
    /// Name of its processor.
    pub processor: String,
    /// The cores that a program may use there; an edge server is the last of them.
    pub cores: Vec<usize>,
    /// 1 or 2; none where there are none to be used.
    pub cgroup_version: Option<u32>,
    /// Release of its kernel.
    pub kernel: Option<String>,
    /// Version of QEMU.
    pub qemu: Option<String>,
    /// What is missing there.
    pub missing: Vec<String>,
}

/// Answers until there are no more questions.
///
/// # Errors
/// When a question cannot be read, or an answer is not wanted any more.
pub fn stand(questions: impl BufRead, mut answers: impl Write) -> Result<(), LabError> {
    let mut standing = None;
    for line in questions.lines() {
        let line = line.map_err(file("the lab's questions"))?;
        let said = match serde_json::from_str(&line) {
            Ok(ask) => answer(ask, &mut standing),
            Err(error) => Err(LabError::Measure(error.to_string())),
        };
        let said = said.unwrap_or_else(|error| Answer::Refused(error.to_string()));
        let text = serde_json::to_string(&said);
        let text = text.map_err(|error| LabError::Measure(error.to_string()))? + "\n";
        answers
            .write_all(text.as_bytes())
            .and_then(|()| answers.flush())
            .map_err(file("the lab's answers"))?;
    }
    Ok(())
}

/// What stands; gone when it is dropped.
#[derive(Debug)]
struct Standing {
    site: Site,
    core: usize,
}

fn answer(ask: Ask, standing: &mut Option<Standing>) -> Result<Answer, LabError> {
    match ask {
        Ask::Look(part) => return look(&part).map(Answer::Offer),
        Ask::Accelerate(guest) => {
            let (accelerator, note) = check::accelerator(&guest);
            return Ok(Answer::Accelerator(accelerator, note));
        }
        Ask::Now => return Ok(Answer::Now(Timestamp::now())),
        Ask::Stand(part, guest) => {
            // What stands is removed before it is made anew.
            *standing = None;
            *standing = Some(Standing::build(&part, guest.as_ref())?);
            return Ok(Answer::Done);
        }
        Ask::Limit { .. } | Ask::Account(_) | Ask::Renew(_) => {}
    }
    let Some(Standing { site, core }) = standing else {
        return Err(LabError::Missing("nothing stands here yet".into()));
    };
    let groups = site.groups();
    match ask {
        Ask::Account(names) => return Account::take(groups, &names).map(Answer::Account),
        Ask::Limit {
            group,
            share,
            period_us,
        } => groups.limit(&group, share, Duration::from_micros(period_us))?,
        Ask::Renew(group) => {
            groups.destroy(&group)?;
            groups.create(&group, &core.to_string(), WEIGHT)?;
        }
        _ => {}
    }
    Ok(Answer::Done)
}

impl Standing {
    fn build(part: &Part, guest: Option<&Guest>) -> Result<Self, LabError> {
        let (cores, core) = cores()?;
        let site = Site::claim()?;
        let groups = site.groups();
        let all: Vec<String> = cores.iter().map(usize::to_string).collect();
        let all = all.join(",");
        groups.create(ROOT, &all, PRECEDENCE)?;
        match part {
            Part::Ends { .. } => groups.create(&format!("{ROOT}/ends"), &all, PRECEDENCE)?,
            Part::Edge {
                host,
                bridge,
                load_weight,
                ..
            } => {
                groups.create_edge(host, core, *load_weight)?;
                network::attach(bridge)?;
            }
        }
        if let Some(guest) = guest {
            // One command line fits all edge servers, wherever each keeps what was brought.
            let here = Guest::in_folder(Path::new(STATE));
            for (kept, here) in guest.files().into_iter().zip(here.files()) {
                symlink(kept, here).map_err(file(here))?;
            }
        }
        Ok(Self { site, core })
    }
}

/// The cores that this process may use, and the last of them.
fn cores() -> Result<(Vec<usize>, usize), LabError> {
    let failed = |why: String| LabError::Program {
        what: "asking which cores there are".into(),
        why,
    };
    let own = sched_getaffinity(Pid::from_raw(0)).map_err(|error| failed(error.to_string()))?;
    let cores: Vec<usize> = (0..CpuSet::count())
        .filter(|core| own.is_set(*core) == Ok(true))
        .collect();
    let last = cores.last().copied();
    let last = last.ok_or_else(|| failed("there is none".into()))?;
    Ok((cores, last))
}

fn look(part: &Part) -> Result<MachineOffer, LabError> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push(
            "root's rights (control groups, and an edge server's ports): have `ssh` come as root"
                .into(),
        );
    }
    let groups = Cgroups::detect();
    if let Err(error) = &groups {
        missing.push(error.to_string());
    }
    let addresses = match part {
        Part::Edge {
            data, management, ..
        } => vec![*data, *management],
        Part::Ends { data } => data.clone(),
    };
    let own = run("ip", &["-4", "-oneline", "address"]).unwrap_or_else(|error| {
        missing.push(format!("{error} (Debian: apt-get install iproute2)"));
        String::new()
    });
    for address in addresses {
        if !own.contains(&format!(" inet {address}/")) {
            missing.push(format!(
                "the address {address}: it is none of this machine's"
            ));
        }
    }
    if let Part::Edge { bridge, .. } = part {
        missing.extend(check::lacking_on_edge());
        let link = run(
            "ip",
            &["-details", "-oneline", "link", "show", "dev", bridge],
        );
        // A port of a bridge is a `bridge_slave`.
        if !link.is_ok_and(|link| link.contains(" bridge ")) {
            missing.push(format!("the bridge {bridge}, on the data plane"));
        }
    }
    Ok(MachineOffer {
        processor: check::processor(),
        cores: cores()?.0,
        cgroup_version: groups.ok().map(|groups| groups.version()),
        kernel: check::version("uname", "-r"),
        qemu: check::version("qemu-system-x86_64", "--version"),
        missing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(questions: &str) -> Vec<Answer> {
        let mut answers = Vec::new();
        stand(questions.as_bytes(), &mut answers).unwrap();
        let text = String::from_utf8(answers).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn line(ask: &Ask) -> String {
        serde_json::to_string(ask).unwrap() + "\n"
    }

    #[test]
    fn each_question_has_its_answer() {
        let limit = Ask::Limit {
            group: "forestall/edge/load".into(),
            share: None,
            period_us: 20_000,
        };
        let asks = [line(&Ask::Now), "nonsense\n".into(), line(&limit)];
        let answers = told(&asks.concat());
        assert!(matches!(answers[0], Answer::Now(_)), "{answers:?}");
        assert!(matches!(answers[1], Answer::Refused(_)), "{answers:?}");
        let wanted = Answer::Refused("nothing stands here yet".into());
        assert_eq!(answers[2], wanted, "there is no such group");
        assert_eq!(answers.len(), 3);
        assert!(told("").is_empty());
    }

    #[test]
    fn what_a_machine_lacks_is_named() {
        let edge = Part::Edge {
            host: HostName::new("edge").unwrap(),
            data: Ipv4Addr::LOCALHOST,
            management: Ipv4Addr::new(192, 0, 2, 99),
            bridge: "no-bridge".into(),
            load_weight: 20,
        };
        let answers = told(&line(&Ask::Look(edge)));
        let [Answer::Offer(offer)] = &answers[..] else {
            panic!("{answers:?}");
        };
        let missing = offer.missing.join("\n");
        assert!(missing.contains("192.0.2.99"), "{missing}");
        assert!(missing.contains("no-bridge"), "{missing}");
        assert!(!missing.contains("127.0.0.1"), "{missing}");
        assert!(!offer.cores.is_empty());
    }

    #[test]
    fn every_question_and_answer_is_read_as_it_was_written() {
        let ends = Part::Ends {
            data: vec![Ipv4Addr::LOCALHOST],
        };
        for ask in [
            Ask::Look(ends.clone()),
            Ask::Stand(ends, Some(Guest::in_folder(Path::new("/x")))),
            Ask::Account(vec!["forestall".into()]),
            Ask::Renew("forestall/edge/vm".into()),
        ] {
            let text = line(&ask);
            assert_eq!(serde_json::from_str::<Ask>(&text).unwrap(), ask);
        }
    }
}
