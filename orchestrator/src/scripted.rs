//! An engine for tests: it says what it is told to say, and moves nothing.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use control::HandOver;
use drivers::{Driver, DriverError, Figures, Plan};
use record::decision::End;
use record::{HostName, Residency, VmName};

pub(crate) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub(crate) fn vm() -> VmName {
    VmName::new("f").unwrap()
}

#[derive(Debug, Default)]
pub(crate) struct Scripted {
    /// Every function runs on these hosts.
    running: Mutex<BTreeSet<HostName>>,
    /// These hosts say nothing.
    silent: Mutex<BTreeSet<HostName>>,
    asked: AtomicUsize,
}

impl Scripted {
    pub(crate) fn runs_on(&self, names: &[&str]) {
        *self.running.lock().unwrap() = names.iter().map(|name| host(name)).collect();
    }

    pub(crate) fn silences(&self, names: &[&str]) {
        *self.silent.lock().unwrap() = names.iter().map(|name| host(name)).collect();
    }

    /// So often a host was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Driver for Scripted {
    fn hand_over(&self) -> HandOver {
        HandOver::ByEngine
    }

    async fn copy(&self, plan: &Plan, _: impl FnOnce() + Send) -> Result<(), DriverError> {
        Err(DriverError::Refused {
            what: format!("move {}", plan.vm),
            why: "this is a test".into(),
        })
    }

    async fn figures(&self, _: &Plan) -> Figures {
        Figures::default()
    }

    async fn look(&self, _: &VmName, host: &HostName) -> Result<Residency, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.silent.lock().unwrap().contains(host) {
            return Err("it is silent".into());
        }
        let running = self.running.lock().unwrap();
        Ok(if running.contains(host) {
            Residency::Running
        } else {
            Residency::Absent
        })
    }

    async fn discard(&self, _: &Plan, _: End) -> Result<(), DriverError> {
        Ok(())
    }

    async fn cancel(&self, _: &Plan) -> Result<(), DriverError> {
        Ok(())
    }
}
