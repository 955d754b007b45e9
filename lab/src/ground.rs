//! Where the hosts of a scenario are: in namespaces of this machine, or on machines that are reached by ssh.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use record::HostName;

use crate::cgroup::{Cgroups, WEIGHT};
use crate::error::LabError;
use crate::monitor::{Account, Watched};
use crate::network::{HOST_TAP, TAP, netns};
use crate::process::Place;
use crate::remote::Remote;
use crate::stand::{Answer, Ask};

/// All hosts of a scenario.
#[derive(Clone, Debug)]
pub enum Ground {
    /// In namespaces that the lab makes on this machine.
    Namespaces(Cgroups),
    /// The machines of an inventory, by host. One that is not among them, the orchestrator's, is this machine as it is.
    Machines(BTreeMap<HostName, Arc<Remote>>),
}

impl Ground {
    /// Where a program runs that has the share of a control group on a host.
    #[must_use]
    pub fn at(&self, host: &HostName, cgroup: String) -> Place {
        match self {
            Self::Namespaces(_) => Place::inside(netns(host), cgroup),
            Self::Machines(machines) => {
                machines
                    .get(host)
                    .map_or(Place::Here, |machine| Place::There {
                        way: machine.way().clone(),
                        cgroup,
                    })
            }
        }
    }

    /// The control groups of a host.
    ///
    /// # Errors
    /// When no machine is this host.
    pub fn shares(&self, host: &HostName) -> Result<Shares, LabError> {
        match self {
            Self::Namespaces(groups) => Ok(Shares::Here(groups.clone())),
            Self::Machines(machines) => machines
                .get(host)
                .map(|machine| Shares::There(Arc::clone(machine)))
                .ok_or_else(|| LabError::Missing(format!("a machine that is {host}"))),
        }
    }

    /// What is looked at of a scenario with these edge servers.
    #[must_use]
    pub fn watched(&self, edges: Vec<HostName>) -> Vec<Watched> {
        let machines = match self {
            Self::Namespaces(groups) => {
                let shares = Shares::Here(groups.clone());
                return vec![Watched {
                    shares,
                    hosts: edges,
                }];
            }
            Self::Machines(machines) => machines,
        };
        let mut watched: Vec<Watched> = Vec::new();
        for (host, machine) in machines {
            let is_known = |one: &Watched| match &one.shares {
                Shares::There(known) => Arc::ptr_eq(known, machine),
                Shares::Here(_) => false,
            };
            // Camera and player are on one.
            if !watched.iter().any(is_known) {
                watched.push(Watched {
                    shares: Shares::There(Arc::clone(machine)),
                    hosts: edges.iter().filter(|edge| *edge == host).cloned().collect(),
                });
            }
        }
        watched
    }

    /// An error when what a host says of times cannot be compared with what this machine says.
    ///
    /// # Errors
    /// [`LabError::Clock`]; or when it does not answer.
    pub fn check_clock(&self, host: &HostName) -> Result<(), LabError> {
        match self.shares(host)? {
            Shares::Here(_) => Ok(()),
            Shares::There(machine) => machine.clock()?.require(machine.way().target()),
        }
    }

    /// The function's port on an edge server.
    #[must_use]
    pub const fn tap(&self) -> &'static str {
        match self {
            Self::Namespaces(_) => TAP,
            Self::Machines(_) => HOST_TAP,
        }
    }
}

/// The control groups of a machine.
#[derive(Clone, Debug)]
pub enum Shares {
    /// Of this one.
    Here(Cgroups),
    /// Of one that is reached by ssh.
    There(Arc<Remote>),
}

impl Shares {
    /// See [`Cgroups::limit`].
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn limit(&self, group: &str, share: Option<f64>, period: Duration) -> Result<(), LabError> {
        match self {
            Self::Here(groups) => groups.limit(group, share, period),
            Self::There(machine) => machine.order(&Ask::Limit {
                group: group.to_owned(),
                share,
                period_us: period.as_micros() as u64,
            }),
        }
    }

    /// What groups of it have used, and the machine.
    ///
    /// # Errors
    /// When the accounting cannot be read.
    pub fn account(&self, groups: Vec<String>) -> Result<Account, LabError> {
        match self {
            Self::Here(own) => Account::take(own, &groups),
            Self::There(machine) => match machine.ask(&Ask::Account(groups))? {
                Answer::Account(account) => Ok(account),
                other => Err(machine.misunderstood(&other)),
            },
        }
    }

    /// Ends everything in a group of an edge server on `core`; it is empty then.
    ///
    /// # Errors
    /// When something in it cannot be ended.
    pub fn renew(&self, group: String, core: usize) -> Result<(), LabError> {
        match self {
            Self::Here(groups) => {
                groups.destroy(&group)?;
                groups.create(&group, &core.to_string(), WEIGHT)
            }
            Self::There(machine) => machine.order(&Ask::Renew(group)),
        }
    }
}
