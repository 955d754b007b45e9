//! Where frames of the video are on their way, and when: captures at every function's interfaces.
//!
//! What a stage takes is seen from outside, by the same clock for every chain: `forestall measure passages` decodes what was captured, and
//! reads number and age of each frame off its code strip.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use record::raw::{PassageRow, PointRow};
use record::read_csv;
use scenario::{LabScenario, Placement, Role};

use crate::capture::Capture;
use crate::error::{LabError, file};
use crate::network::{DATA, TAP};
use crate::process::{Place, own, run};
use crate::run::write_rows;
use crate::{placement, stage};

/// An interface that is looked at.
#[derive(Clone, Debug)]
pub struct Tap {
    at: Place,
    interface: String,
    /// What passes it, by name.
    points: Vec<Point>,
}

/// A place on the way of the video.
#[derive(Clone, Debug)]
struct Point {
    name: String,
    /// Whose packets these are.
    whose: Whose,
}

#[derive(Clone, Copy, Debug)]
enum Whose {
    /// Everybody's: only one video passes there.
    All,
    /// What this address is sent.
    To(Ipv4Addr),
    /// What this address sends.
    From(Ipv4Addr),
}

/// The end of a chain, at a host's interface.
fn end(at: Place, interface: &str, name: &str) -> Tap {
    Tap {
        at,
        interface: interface.to_owned(),
        points: vec![Point {
            name: name.to_owned(),
            whose: Whose::All,
        }],
    }
}

/// A function in a virtual machine with an address, at the port of that machine.
fn function(at: Place, interface: String, name: &str, address: Ipv4Addr) -> Tap {
    let point = |way: &str, whose| Point {
        name: format!("{name} {way}"),
        whose,
    };
    Tap {
        at,
        interface,
        points: vec![
            point("in", Whose::To(address)),
            point("out", Whose::From(address)),
        ],
    }
}

/// All of a placement, from the camera to the player.
///
/// # Errors
/// When a function has no virtual machine: what it takes and gives is not to be told apart from outside.
pub fn of_placement(placement: &Placement) -> Result<Vec<Tap>, LabError> {
    let place = placement::service::place;
    let data = placement::wiring::DATA;
    let mut taps = vec![end(place(placement.robot.as_ref()), data, "camera out")];
    for own in &placement.functions {
        let name = own.does.as_str();
        let address = own.machine.ok_or_else(|| {
            LabError::Measure(format!(
                "{}: {name} has no virtual machine of its own, so that its stage cannot be seen from outside",
                placement.name
            ))
        })?;
        let interface = placement::machine::tap(address);
        taps.push(function(place(own.host.as_ref()), interface, name, address));
    }
    taps.push(end(place(placement.user.as_ref()), data, "player in"));
    Ok(taps)
}

/// All of a scenario.
///
/// # Errors
/// When it has no robot or no user.
pub fn of_scenario(scenario: &LabScenario) -> Result<Vec<Tap>, LabError> {
    let host = |role: Role, what: &str| {
        let found = scenario.hosts_of(role).next();
        found
            .map(|(name, _)| stage::place(name))
            .ok_or_else(|| LabError::Missing(format!("no {what}")))
    };
    let own = &scenario.function;
    Ok(vec![
        end(host(Role::Robot, "robot")?, DATA, "camera out"),
        function(
            stage::place(&own.host),
            TAP.to_owned(),
            "text-insertion",
            own.data,
        ),
        end(host(Role::User, "user")?, DATA, "player in"),
    ])
}

/// Captures that run.
#[derive(Debug)]
pub struct Taps<'a>(Vec<(&'a Tap, Capture)>);

impl<'a> Taps<'a> {
    /// Begins to look at all of them.
    ///
    /// # Errors
    /// When `tcpdump` does not start.
    pub fn start(taps: &'a [Tap], folder: &Path) -> Result<Self, LabError> {
        let start = |(number, tap): (usize, &'a Tap)| {
            let name = format!("tap-{number}");
            let capture = Capture::start(&tap.at, &tap.interface, folder, &name)?;
            Ok((tap, capture))
        };
        taps.iter()
            .enumerate()
            .map(start)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// An error when one has ended by itself.
    ///
    /// # Errors
    /// With what it said last.
    pub fn check(&mut self) -> Result<(), LabError> {
        self.0
            .iter_mut()
            .try_for_each(|(_, capture)| capture.check())
    }

    /// Ends them, and leaves what they saw as `passages.csv`; none where nothing was looked at.
    ///
    /// # Errors
    /// When a capture cannot be read.
    pub fn end(mut self, folder: &Path) -> Result<(), LabError> {
        if self.0.is_empty() {
            return Ok(());
        }
        for (_, capture) in &mut self.0 {
            capture.end();
        }
        let mut rows = Vec::new();
        for (tap, capture) in &self.0 {
            let seen = passages(capture.path())?;
            for point in &tap.points {
                let own = seen.iter().filter(|row| point.has(row));
                rows.extend(own.map(|row| PointRow {
                    point: point.name.clone(),
                    frame: row.frame,
                    captured_us: row.captured_us,
                    passed_us: row.passed_us,
                }));
            }
        }
        write_rows(&folder.join("passages.csv"), &rows)
    }
}

impl Point {
    fn has(&self, row: &PassageRow) -> bool {
        match self.whose {
            Whose::All => true,
            Whose::To(address) => row.destination.ip() == IpAddr::V4(address),
            Whose::From(address) => row.source.ip() == IpAddr::V4(address),
        }
    }
}

/// Reads the frames of a capture, which is gone then: it is large, and nothing else of it is wanted.
fn passages(capture: &Path) -> Result<Vec<PassageRow>, LabError> {
    let csv = capture.with_extension("csv");
    let (path, rows) = (capture.to_string_lossy(), csv.to_string_lossy());
    run(&own(), &["measure", "passages", &path, "--csv", &rows])?;
    let seen = read_csv(&csv).map_err(|error| LabError::Measure(error.to_string()))?;
    for path in [capture, &csv] {
        std::fs::remove_file(path).map_err(file(path))?;
    }
    Ok(seen)
}
