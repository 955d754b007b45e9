//! The environment of a scenario, standing: hosts, shares, and the machine of the function.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use record::HostName;
use scenario::{Inventory, LabScenario, Role};

use crate::agent::{Agent, Passwords};
use crate::cgroup::{PRECEDENCE, ROOT, WEIGHT};
use crate::check::Accelerator;
use crate::engine::{Engine, EngineName, control_plane};
use crate::error::{LabError, unless_interrupted};
use crate::ground::Ground;
use crate::guest::{Ballast, Guest};
use crate::ipc::Counting;
use crate::load::Load;
use crate::monitor::Monitor;
use crate::path::{LongPath, PathShape};
use crate::placement::wiring::{Kernel, LinkEmulation};
use crate::process::Place;
use crate::remote::{self, Member};
use crate::site::{API, Kept, STATE, Site};
use crate::stage::{Camera, Player};
use crate::vm::Machine;
use crate::{agent, ffplay, network, stage};

/// What a world has beside its scenario.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside {
    /// What else is in the guest's memory.
    pub ballast: Option<Ballast>,
    /// What is between the edge servers on the management network, what may carry it, and what its loss is drawn from.
    pub path: Option<(PathShape, Kernel, u64)>,
}

/// Hosts and shares of a scenario. When it is dropped all of it is ended and removed.
#[derive(Debug)]
pub struct World<'a> {
    /// What is run.
    pub scenario: &'a LabScenario,
    /// What runs and moves the function's machine.
    pub engine: Engine,
    /// Core of each edge server, by host.
    cores: Vec<(HostName, usize)>,
    passwords: Passwords,
    path: Option<LongPath>,
    ground: Ground,
    /// The machines of an inventory, where its hosts are.
    members: Vec<Member>,
    // After all that has files there.
    base: Base,
    interrupted: &'a AtomicBool,
}

/// What the lab has of this machine.
#[derive(Debug)]
enum Base {
    /// All of it: hosts are made here.
    Site(Site),
    /// A folder: hosts are elsewhere.
    Kept(Kept),
}

impl Base {
    /// Where the lab's state is.
    fn state(&self) -> PathBuf {
        match self {
            Self::Site(site) => site.state(),
            Self::Kept(kept) => kept.folder().to_owned(),
        }
    }
}

impl<'a> World<'a> {
    /// Builds it. `interrupted` is looked at wherever the lab waits.
    ///
    /// # Errors
    /// When something is missing or another lab runs.
    pub fn build(
        scenario: &'a LabScenario,
        engine: EngineName,
        accelerator: Accelerator,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, LabError> {
        Self::build_beside(
            scenario,
            engine,
            Beside::default(),
            accelerator,
            interrupted,
        )
    }

    /// Builds it with something more.
    ///
    /// # Errors
    /// As [`World::build`].
    pub fn build_beside(
        scenario: &'a LabScenario,
        engine: EngineName,
        beside: Beside,
        accelerator: Accelerator,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, LabError> {
        ffplay::require(scenario.video.viewer)?;
        let guest = Guest::build(scenario.video.chain)?;
        let site = Site::claim()?;
        let passwords = Passwords::make(&site.state())?;
        let cores = assign_cores(scenario, cpus());
        let groups = site.groups();
        let all = format!("0-{}", cpus() - 1);
        // Over what else runs on the machine, so that foreign load disturbs as little as it can.
        groups.create(ROOT, &all, PRECEDENCE)?;
        // Camera, player and orchestrator share the cores with all edge servers but the one where the function begins.
        groups.create(
            &format!("{ROOT}/ends"),
            &ends_cores(&cores, cpus()),
            PRECEDENCE,
        )?;
        for (host, core) in &cores {
            groups.create_edge(host, *core, scenario.competition.load_weight)?;
        }
        network::create(scenario)?;
        let path = match beside.path {
            None => None,
            Some((shape, kernel, seed)) => {
                // The link is not on a core of its own; it must not be late for what else runs.
                groups.create(&format!("{ROOT}/links"), &all, PRECEDENCE)?;
                Some(LongPath::stand(
                    scenario,
                    shape,
                    kernel,
                    seed,
                    &site.state(),
                )?)
            }
        };
        let ground = Ground::Namespaces(groups.clone());
        let machine = Machine::new(
            scenario,
            guest,
            accelerator,
            (ground.clone(), &site.state()),
        );
        machine.write_config(player(scenario)?, beside.ballast)?;
        let has_control_plane = engine == EngineName::Nova;
        if has_control_plane {
            groups.create(&control_plane(), &all, WEIGHT)?;
        }
        let engine = Engine::start(engine, machine, groups, interrupted)?;
        if has_control_plane {
            // It stands. While anything is measured it keeps away from the core of the function.
            let cores = ends_cores(&cores, cpus());
            groups.create(&control_plane(), &cores, WEIGHT)?;
        }
        Ok(Self {
            scenario,
            engine,
            cores,
            passwords,
            path,
            ground,
            members: Vec::new(),
            base: Base::Site(site),
            interrupted,
        })
    }

    /// Has it on machines of an inventory, with whose addresses `scenario` is. QEMU runs and moves the function's machine.
    ///
    /// # Errors
    /// When one cannot be reached or lacks something, or another lab runs there; [`LabError::Interrupted`].
    pub fn build_on(
        scenario: &'a LabScenario,
        inventory: &Inventory,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, LabError> {
        let guest = Guest::build(scenario.video.chain)?;
        let base = Base::Kept(Kept::make()?);
        let state = base.state();
        let members = remote::reach(scenario, inventory, (&guest, &state), interrupted)?;
        let passwords = Passwords::make(&state)?;
        let ground = Ground::Machines(remote::by_host(&members));
        let edge = |one| Some((one, Member::accelerator(one)?));
        let edges = || members.iter().filter_map(edge);
        let (_, accelerator) = edges()
            .next()
            .ok_or_else(|| LabError::Missing("an edge server".into()))?;
        let core = |(member, _): (&Member, Accelerator)| {
            let (hosts, core) = (member.hosts().to_vec(), member.core());
            hosts.into_iter().map(move |host| (host, core))
        };
        let cores = edges().flat_map(core).collect();
        // There the state is where a lab on that machine would have it.
        let there = Path::new(STATE);
        let guest = Guest::in_folder(there);
        let machine = Machine::new(scenario, guest, accelerator, (ground.clone(), there));
        machine.write_config(player(scenario)?, None)?;
        Ok(Self {
            scenario,
            engine: Engine::of_qemu(machine),
            cores,
            passwords,
            path: None,
            ground,
            members,
            base,
            interrupted,
        })
    }

    /// How the delay of the path between its edge servers is made.
    #[must_use]
    pub fn link_emulation(&self) -> LinkEmulation {
        let path = self.path.as_ref();
        path.map_or(LinkEmulation::None, |path| path.emulation)
    }

    /// Folder of this machine for what lasts no longer than the lab.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.base.state()
    }

    /// Where the orchestrator of a run answers.
    #[must_use]
    pub fn api(&self) -> PathBuf {
        match &self.base {
            Base::Site(_) => API.into(),
            Base::Kept(kept) => kept.folder().join("api.sock"),
        }
    }

    /// The machines of an inventory, where the hosts are; none where they are on this one.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Passwords of the agents' user.
    #[must_use]
    pub const fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Which core each edge server has, in words.
    #[must_use]
    pub fn cores_text(&self) -> String {
        let edges: Vec<String> = self
            .cores
            .iter()
            .map(|(host, core)| format!("{host} on core {core}"))
            .collect();
        let edges = edges.join(", ");
        match self.ground {
            Ground::Namespaces(_) => format!(
                "{edges}; camera, player and orchestrator on core {}",
                ends_cores(&self.cores, cpus())
            ),
            Ground::Machines(_) => format!(
                "{edges} of a machine each; camera and player on all of another's; the orchestrator where the lab was started"
            ),
        }
    }

    /// Starts the agents of all edge servers.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn agents(&self) -> Result<Vec<Agent>, LabError> {
        let state = self.state();
        let agent = |(host, _): &(HostName, usize)| {
            let management = self
                .scenario
                .hosts
                .get(host)
                .and_then(|host| host.management);
            let address = management.unwrap_or(Ipv4Addr::LOCALHOST);
            let address = SocketAddrV4::new(address, self.agent_port());
            Agent::start(host, address, &self.ground, &self.passwords, &state)
        };
        self.cores.iter().map(agent).collect()
    }

    /// Port of all agents.
    #[must_use]
    pub const fn agent_port(&self) -> u16 {
        match self.ground {
            Ground::Namespaces(_) => agent::PORT,
            Ground::Machines(_) => agent::PORT_BESIDE,
        }
    }

    /// Background load for an edge server, none yet: all of `stress-ng`'s methods in turn, as in the thesis (4.2).
    #[must_use]
    pub fn load(&self, host: &HostName) -> Load {
        self.load_of(host, None)
    }

    /// Background load of one method of `stress-ng`.
    #[must_use]
    pub fn load_of(&self, host: &HostName, method: Option<&str>) -> Load {
        let burst_ms = self.scenario.competition.burst_ms;
        Load::new(host, &self.ground, (burst_ms, method), &self.state())
    }

    /// Begins to count what an edge server's background load does in a cycle.
    ///
    /// # Errors
    /// In words, why this machine does not count.
    pub fn count_load(&self, host: &HostName) -> Result<Counting, String> {
        let Ground::Namespaces(groups) = &self.ground else {
            return Err("another machine's is not counted".into());
        };
        let group = groups.unified(&format!("{ROOT}/{host}/load"));
        let group = group.ok_or("control groups of version 1 are not counted apart")?;
        let core = self.cores.iter().find(|(own, _)| own == host);
        Counting::start(&group, core.map_or(0, |(_, core)| *core))
    }

    /// Starts the function's machine on `host`, the player and the camera, and waits until a picture is on the screen.
    ///
    /// # Errors
    /// When one does not start; [`LabError::Interrupted`].
    pub fn start_service(
        &self,
        host: &HostName,
        folder: &Path,
    ) -> Result<(Player, Camera), LabError> {
        if let Some((user, _)) = self.scenario.hosts_of(Role::User).next() {
            self.ground.check_clock(user)?;
        }
        self.engine.boot(host, self.interrupted)?;
        let mut player = Player::start(self.scenario, &self.ground, folder)?;
        let camera = Camera::start(self.scenario, &self.ground, folder)?;
        player.wait_for_picture(self.interrupted)?;
        Ok((player, camera))
    }

    /// Looks at the true load of all edge servers, and of the machine.
    ///
    /// # Errors
    /// When the accounting cannot be read.
    pub fn monitor(&self) -> Result<Monitor, LabError> {
        let edges = self.cores.iter().map(|(host, _)| host.clone()).collect();
        Monitor::start(self.ground.watched(edges))
    }

    /// Ends the virtual machine wherever it is.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn end_machines(&self) -> Result<(), LabError> {
        for (host, core) in &self.cores {
            self.ground
                .shares(host)?
                .renew(Machine::share(host), *core)?;
        }
        self.engine.forgotten()
    }

    /// Waits, and looks every 50 ms whether the person has had enough.
    ///
    /// # Errors
    /// [`LabError::Interrupted`].
    pub fn wait(&self, duration: Duration) -> Result<(), LabError> {
        let begun = Instant::now();
        while let Some(left) = duration
            .checked_sub(begun.elapsed())
            .filter(|left| !left.is_zero())
        {
            self.check_interrupted()?;
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        self.check_interrupted()
    }

    /// Set when the person pressed Ctrl-C.
    #[must_use]
    pub const fn interrupted(&self) -> &AtomicBool {
        self.interrupted
    }

    /// An error when the person pressed Ctrl-C.
    ///
    /// # Errors
    /// [`LabError::Interrupted`].
    pub fn check_interrupted(&self) -> Result<(), LabError> {
        unless_interrupted(self.interrupted)
    }

    /// Keeps the consoles, which would go with the lab.
    pub fn keep_consoles(&self, folder: &Path) {
        for (host, _) in &self.cores {
            let here = folder.join(format!("console-{host}.log"));
            // A host that never had the machine has none.
            self.engine.keep_console(host, &here).ok();
        }
    }

    /// Where the orchestrator runs.
    #[must_use]
    pub fn orchestrator(&self) -> Place {
        let host = self.scenario.hosts_of(Role::Orchestrator).next();
        host.map_or(Place::Here, |(name, _)| {
            self.ground.at(name, stage::share())
        })
    }
}

/// Where the player takes video.
fn player(scenario: &LabScenario) -> Result<Ipv4Addr, LabError> {
    let user = scenario.hosts_of(Role::User).next();
    let (_, user) = user.ok_or_else(|| LabError::Missing("no user".into()))?;
    Ok(user.data.unwrap_or(Ipv4Addr::LOCALHOST))
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The host where the function begins has the first core for itself; the others have the next ones, as far as they go.
fn assign_cores(scenario: &LabScenario, cpus: usize) -> Vec<(HostName, usize)> {
    let first = &scenario.function.host;
    let others = scenario
        .hosts_of(Role::Edge)
        .map(|(name, _)| name)
        .filter(|name| *name != first);
    let last = cpus.saturating_sub(1);
    std::iter::once(first)
        .chain(others)
        .enumerate()
        .map(|(index, host)| (host.clone(), index.min(last)))
        .collect()
}

/// Cores that no edge server has, or else the last one.
fn ends_cores(cores: &[(HostName, usize)], cpus: usize) -> String {
    let free = cores
        .iter()
        .map(|(_, core)| core + 1)
        .max()
        .unwrap_or_default();
    let last = cpus.saturating_sub(1);
    if free < last {
        format!("{free}-{last}")
    } else {
        last.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_shared_out() {
        let host = |name: &str, core| (HostName::new(name).unwrap(), core);
        let two = [host("a", 0), host("b", 1)];
        for (cpus, wanted) in [(1, "0"), (2, "1"), (3, "2"), (4, "2-3"), (8, "2-7")] {
            assert_eq!(ends_cores(&two, cpus), wanted, "{cpus}");
        }
    }
}
