//! What tasks tell the loop: what a driver did and saw, and where functions are.

use control::Input;
use drivers::Driver;
use drivers::tagged::Found;
use record::{Residency, Timestamp, Verdict, VmName};

use super::{Orchestrator, tell};
use crate::error::OrchestratorError;
use crate::log::{About, say};
use crate::mover::News;
use crate::recording::MoveFact;
use crate::survey::{self, Seen};
use crate::usage::Used;

impl<D: Driver> Orchestrator<D> {
    pub(super) fn hear(&mut self, news: News) -> Result<(), OrchestratorError> {
        match news {
            News::Input(input) => self.turn(vec![input]).map(drop),
            News::Fact(at, migration, fact) => self.fact(at, migration, fact),
            News::Progress(migration, progress) => {
                // One that comes after the verdict is of no use.
                if self.mover.vm(migration).is_some() {
                    self.progress.insert(migration, progress);
                }
                Ok(())
            }
            News::Seen(vm, seen) => self.see(vm, seen),
            News::Tagged(found) => self.discover(found),
            News::Used(used) => self.measure(used),
        }
    }

    /// What functions use, of those that are on that host still.
    fn measure(&mut self, mut used: Used) -> Result<(), OrchestratorError> {
        let (controller, host) = (&self.controller, &used.host);
        let is_there = |vm: &VmName| controller.residence(vm) == Some(host);
        used.times.used.retain(|vm, _| is_there(vm));
        let processors = self.processors.of(&used.host);
        // While one is on its way from or to it, nothing is made of what it says.
        let rests_since = controller.rests_since(host).unwrap_or(used.at);
        let inputs = self.usage.take(used, processors, rests_since);
        if inputs.is_empty() {
            return Ok(());
        }
        self.turn(inputs).map(drop)
    }

    /// Takes functions in that nobody knew of, with what the journal has of them.
    fn discover(&mut self, found: Found) -> Result<(), OrchestratorError> {
        let Some(discovery) = &mut self.discovery else {
            return Ok(());
        };
        let controller = &self.controller;
        let new = discovery.take(found, |vm| controller.residence(vm).is_some());
        tell(new.words);
        if new.functions.is_empty() {
            return Ok(());
        }
        let standing = match self.journal.standing() {
            Ok(standing) => standing,
            Err(error) => {
                self.written(Err(error));
                return Ok(());
            }
        };
        let mut inputs = Vec::new();
        for function in new.functions {
            let learned = self.learner.add(&function);
            let known = standing.known_of(&function.vm, &function.host);
            let function = Box::new(function);
            inputs.push(Input::Found { function });
            inputs.extend(learned.into_iter().chain(known));
        }
        self.turn(inputs).map(drop)
    }

    fn fact(
        &mut self,
        at: Timestamp,
        migration: u64,
        fact: MoveFact,
    ) -> Result<(), OrchestratorError> {
        let written = self.journal.fact(at, migration, &fact);
        self.written(written);
        self.learner.fact(at, migration, &fact);
        self.record(|recording| recording.fact(at, migration, fact))
    }

    fn see(&mut self, vm: VmName, seen: Seen) -> Result<(), OrchestratorError> {
        // A move that has begun since looks for itself, and one that is over has its own word.
        if self.mover.moves(&vm) || self.controller.residence(&vm) != Some(&seen.host) {
            return Ok(());
        }
        let before = self.sightings.insert(vm.clone(), seen.clone());
        if before.as_ref().map(|before| before.verdict) != Some(seen.verdict)
            && seen.verdict != Verdict::Stayed
        {
            let words = format!("function {vm} is {}", seen.words());
            say(Some(About::Function(&vm)), &words);
        }
        // What a move has come to a person has to end, whatever is seen afterwards.
        let known = self.controller.known(&vm);
        if !matches!(known, Some(Input::Known { given_up: true, .. })) {
            self.alarms.see(&vm, before.as_ref(), &seen);
        }
        let Some(input) = survey::conclude(&vm, &seen, self.controller.doubt(&vm)) else {
            return Ok(());
        };
        self.turn(vec![input])?;
        // Where it is taken to be now, it was seen to run.
        let residence = self.controller.residence(&vm);
        if let Some(host) = residence.filter(|host| seen.elsewhere.contains(host)) {
            let there = Seen {
                host: host.clone(),
                residency: Residency::Running,
                elsewhere: Vec::new(),
                verdict: Verdict::Stayed,
                ..seen
            };
            self.sightings.insert(vm, there);
        }
        Ok(())
    }
}
