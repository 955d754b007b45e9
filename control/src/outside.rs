//! What is seen of functions while no move of ours is open: others move them, too, they may run twice or nowhere, and use this or that.

use record::{Doubt, Event, HostName, Timestamp, Utilization, VmName};

use crate::controller::Controller;
use crate::decide::News;

impl Controller {
    /// Somebody else may have moved it: that is a fact, and no move of ours. While one of ours is open, its own looks count.
    pub(crate) fn seen(&mut self, now: Timestamp, vm: &VmName, host: &HostName) {
        let (Some(function), Some(to)) = (self.function_id(vm), self.host_id(host)) else {
            return;
        };
        let from = self.functions[function].host;
        if from == to || self.moves.values().any(|open| open.function == function) {
            return;
        }
        self.functions[function].doubt = None;
        self.relocate(function, to);
        self.functions[function].moved_at = Some(now);
        for end in [from, to] {
            self.hosts[end.0 as usize].moved(now);
        }
        let from_name = self.hosts[from.0 as usize].name.clone();
        self.emit(
            now,
            Event::Relocated {
                vm: vm.clone(),
                from: from_name,
                to: host.clone(),
            },
        );
        for end in [from, to] {
            self.evaluate(now, end, News::Other);
        }
    }

    /// What runs twice, nowhere, or nobody knows where is not moved until it is seen to run once. While a move of ours is open its
    /// own looks count.
    pub(crate) fn looked(&mut self, now: Timestamp, vm: &VmName, doubt: Option<Doubt>) {
        let Some(function) = self.function_id(vm) else {
            return;
        };
        if self.moves.values().any(|open| open.function == function) {
            return;
        }
        self.functions[function].doubt = doubt;
        let host = self.functions[function].host;
        self.learn_functions(host);
        self.evaluate(now, host, News::Other);
    }

    /// On a host that is fuller than any target may be a function gets less than it needs: less than is known is not believed there.
    pub(crate) fn measured(
        &mut self,
        now: Timestamp,
        vm: &VmName,
        load: Utilization,
        at: Timestamp,
    ) {
        let Some(number) = self.function_id(vm) else {
            return;
        };
        if self.moves.values().any(|open| open.function == number) {
            return;
        }
        let function = &self.functions[number];
        let seen = self.hosts[function.host.0 as usize].utilization();
        let is_full = seen.is_some_and(|seen| seen > self.settings.limits.target_load_max);
        if !is_full || load >= function.load(now) {
            self.functions[number].measured = Some((load, at));
        }
    }
}
