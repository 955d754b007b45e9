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

/// Functions of a host that are not seen apart.
const SERVER: &str = "server";

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

/// What takes the video at an address and gives it on, at an interface that both pass.
fn through(at: Place, interface: &str, name: &str, address: Ipv4Addr) -> Tap {
    let point = |way: &str, whose| Point {
        name: format!("{name} {way}"),
        whose,
    };
    Tap {
        at,
        interface: interface.to_owned(),
        points: vec![
            point("in", Whose::To(address)),
            point("out", Whose::From(address)),
        ],
    }
}

/// All of a placement, from the camera to the player: each function in a virtual machine by itself, or, where none has one, the host of all.
///
/// # Errors
/// When it is neither: then what a function takes and gives is not to be told apart from outside.
pub fn of_placement(placement: &Placement) -> Result<Vec<Tap>, LabError> {
    let place = placement::service::place;
    let data = placement::wiring::DATA;
    let mut taps = vec![end(place(placement.robot.as_ref()), data, "camera out")];
    let functions = &placement.functions;
    let machines: Option<Vec<Ipv4Addr>> = functions.iter().map(|own| own.machine).collect();
    let first = functions.first().map(|own| own.host.as_ref());
    let one_host = functions
        .iter()
        .all(|own| own.machine.is_none() && Some(own.host.as_ref()) == first);
    let host = first.and_then(|name| Some((name, placement.hosts.get(name)?)));
    match (machines, host) {
        (Some(addresses), _) => {
            for (own, address) in functions.iter().zip(addresses) {
                let port = placement::machine::tap(address);
                let at = place(own.host.as_ref());
                taps.push(through(at, &port, own.does.as_str(), address));
            }
        }
        (None, Some((name, host))) if one_host => {
            taps.push(through(place(name), data, SERVER, host.address));
        }
        _ => {
            return Err(LabError::Measure(format!(
                "{}: some functions have a virtual machine and some have none, or are on several hosts: their stages cannot be seen from outside",
                placement.name
            )));
        }
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
        through(stage::place(&own.host), TAP, "text-insertion", own.data),
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
