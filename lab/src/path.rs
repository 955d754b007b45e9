//! A long path of the management network: all edge servers but the one where the function begins are at its far end.
//!
//! ```text
//!   edge ── mgmt                     bridge `mgmt`: the source, the orchestrator
//!           path ── link ── path     round trip and loss, for migrations and for what the orchestrator asks
//!   edge ── away                     bridge `away`
//! ```

use std::path::Path;

use link::{Loss, Shape};
use scenario::placement::Connection;
use scenario::{LabScenario, Role};

use crate::error::LabError;
use crate::network::{PREFIX, SWITCH, management_port};
use crate::placement::wiring::{Kernel, LinkEmulation, Port, Strand, connect, ip};
use crate::process::Process;

/// Bridge of the far end.
const AWAY: &str = "away";

/// What a path does to frames, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PathShape {
    /// Round trip that it adds.
    pub rtt_ms: f64,
    /// Share of frames that each direction loses, `0..1`.
    pub loss: f64,
}

/// The path, standing; its link goes with it.
#[derive(Debug)]
pub struct LongPath {
    /// How its delay is made.
    pub emulation: LinkEmulation,
    _forwarder: Option<Process>,
}

impl PathShape {
    fn link(self) -> Connection {
        let one_way = Shape {
            delay_ms: self.rtt_ms / 2.0,
            loss: (self.loss > 0.0).then_some(Loss {
                share: self.loss,
                burst: None,
            }),
            ..Shape::default()
        };
        Connection {
            up: one_way.clone(),
            down: one_way,
        }
    }
}

impl LongPath {
    /// Puts it between the edge servers of a scenario whose network stands.
    ///
    /// # Errors
    /// When the shape is none that a link can have, `ip` or `tc` refuses, or the forwarder does not start.
    pub fn stand(
        scenario: &LabScenario,
        shape: PathShape,
        kernel: Kernel,
        seed: u64,
        state: &Path,
    ) -> Result<Self, LabError> {
        let link = shape.link();
        let good = link.up.check();
        good.map_err(|error| LabError::Measure(format!("the path: {error}")))?;
        let switch = format!("{PREFIX}{SWITCH}");
        ip(&format!("-n {switch} link add {AWAY} type bridge"))?;
        ip(&format!("-n {switch} link set {AWAY} up"))?;
        let begins = &scenario.function.host;
        for (name, _) in scenario
            .hosts_of(Role::Edge)
            .filter(|(name, _)| *name != begins)
        {
            let port = management_port(scenario, name);
            ip(&format!("-n {switch} link set {port} master {AWAY}"))?;
        }
        let ends = ["far0", "near0"].map(|device| Port {
            namespace: switch.clone(),
            device: device.into(),
        });
        let mut carried = Vec::new();
        connect(&ends, &link, kernel, &mut carried)?;
        let mut strand = Strand::start(&carried, seed, state)?;
        let emulation = match (&strand.forwarder, link.up.is_plain()) {
            (Some(_), _) => LinkEmulation::Userspace,
            (None, true) => LinkEmulation::None,
            (None, false) => LinkEmulation::Netem,
        };
        for (port, bridge) in ends.iter().zip([AWAY, "mgmt"]) {
            strand.join(port, bridge)?;
        }
        Ok(Self {
            emulation,
            _forwarder: strand.forwarder,
        })
    }
}
