//! What a server takes by its packets, as the thesis measures it (3.2.4): streaming is started and stopped repeatedly while what goes in and
//! out is captured at the server's interface.
//!
//! The camera is what starts and stops. Functions and player stay, so that, as in the thesis, what a function holds when streaming stops is sent
//! when it is resumed, and no start has a program's looking at its input in it.

use std::fs::File;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use measure::capture::file as capture_file;
use measure::capture::packet::{Content, Packet};
use measure::span::Span;
use record::raw::StartRow;
use record::{HostName, Timestamp};
use scenario::Placement;

use super::run::{Plan, wait};
use super::service::{Service, place};
use super::wiring::DATA;
use crate::capture::Capture;
use crate::cgroup::Cgroups;
use crate::error::{LabError, file};
use crate::monitor::{Monitor, Watched};
use crate::progress::Progress;
use crate::run::write_rows;

/// From the start of the camera to its end: a slow encoder has begun long before.
const STREAMED: Duration = Duration::from_secs(5);
/// From there to the next start. What has not left the server by then is held until streaming is resumed.
const SILENT: Duration = Duration::from_secs(3);
/// Name of the capture.
const SERVER: &str = "server";

/// Where all functions are, and whose packets go in and out there.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    host: &'a HostName,
    robot: IpAddr,
    user: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

impl<'a> Server<'a> {
    /// That of a placement.
    ///
    /// # Errors
    /// When its functions are on several hosts: then there is no one interface that the video enters and leaves by.
    pub(crate) fn of(placement: &'a Placement) -> Result<Self, LabError> {
        let mut hosts = placement.functions.iter().map(|own| own.host.get_ref());
        let host = hosts
            .next()
            .ok_or_else(|| LabError::Missing(format!("{}: no function", placement.name)))?;
        if hosts.any(|other| other != host) {
            return Err(LabError::Measure(format!(
                "{}: functions are on several hosts: no interface has the first and last packets of all",
                placement.name
            )));
        }
        let address = |host: &HostName| {
            let station = placement.hosts.get(host);
            let found = station.map(|station| IpAddr::V4(station.address));
            found.ok_or_else(|| LabError::Missing(format!("no host {host}")))
        };
        Ok(Self {
            host,
            robot: address(placement.robot.get_ref())?,
            user: address(placement.user.get_ref())?,
        })
    }

    /// Where a packet of the video goes; `None` of others, and of those without a payload.
    fn direction(&self, packet: &Packet<'_>) -> Option<Direction> {
        let ends = packet.flow.endpoints;
        if packet.payload_bytes() == 0 {
            None
        } else if ends.source.ip() == self.robot {
            Some(Direction::In)
        } else if ends.destination.ip() == self.user {
            Some(Direction::Out)
        } else {
            None
        }
    }

    /// Directions and times of the video's packets in a capture.
    fn packets(&self, capture: &Path) -> Result<Vec<(Direction, Timestamp)>, LabError> {
        let mut opened = File::open(capture).map_err(file(capture))?;
        let mut seen = Vec::new();
        let read = capture_file::read(capture, &mut opened, |frame| {
            if let Content::Packet(packet) = Content::of(frame)
                && let Some(direction) = self.direction(&packet)
            {
                seen.push((direction, Timestamp(frame.time_ns / 1_000)));
            }
            Ok(())
        });
        read.map_err(|error| LabError::Measure(error.to_string()))?;
        Ok(seen)
    }
}

/// Starts and stops the camera of a service that has come to its steady state `count` times, and ends the service. Leaves `starts.csv` and
/// `load.csv` (of the machine).
pub(super) fn measure(
    plan: &Plan<'_>,
    count: u32,
    mut service: Service,
    groups: &Cgroups,
    interrupted: &AtomicBool,
    progress: &mut Progress,
) -> Result<(), LabError> {
    let server = Server::of(plan.placement)?;
    let mut capture = Capture::start(&place(server.host), DATA, plan.folder, SERVER)?;
    let monitor = Monitor::start(vec![Watched::this_machine(groups)])?;
    let mut stays = |service: &mut Service, duration: Duration| -> Result<(), LabError> {
        wait(duration, interrupted)?;
        service.check()?;
        capture.check()
    };
    service.stop_camera();
    stays(&mut service, SILENT)?;
    let mut spans = Vec::new();
    for number in 1..=count {
        progress.now(&format!("start {number} of {count}"));
        let start = Timestamp::now();
        service.start_camera()?;
        stays(&mut service, STREAMED)?;
        service.stop_camera();
        stays(&mut service, SILENT)?;
        let end = Timestamp::now();
        spans.push(Span { start, end });
    }
    write_rows(&plan.folder.join("load.csv"), &monitor.rows()?)?;
    drop(service);
    capture.end();
    let packets = server.packets(capture.path())?;
    // It is large, and nothing else of it is wanted.
    std::fs::remove_file(capture.path()).map_err(file(capture.path()))?;
    let rows: Vec<StartRow> = (1..)
        .zip(&spans)
        .map(|(number, span)| row(number, *span, &packets))
        .collect();
    write_rows(&plan.folder.join("starts.csv"), &rows)
}

/// The first and the last packet in and out from a start until the next.
fn row(number: u32, span: Span, packets: &[(Direction, Timestamp)]) -> StartRow {
    let ends = |wanted: Direction| {
        let own = packets.iter().filter(|(direction, _)| *direction == wanted);
        let times: Vec<Timestamp> = own
            .map(|(_, at)| *at)
            .filter(|at| span.contains(*at))
            .collect();
        (times.iter().min().copied(), times.iter().max().copied())
    };
    let (first_in_us, last_in_us) = ends(Direction::In);
    let (first_out_us, last_out_us) = ends(Direction::Out);
    StartRow {
        number,
        started_us: span.start,
        first_in_us,
        first_out_us,
        last_in_us,
        last_out_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use measure::capture::packet::{Flow, Transport};

    #[test]
    fn first_and_last_packets_are_those_of_their_start() {
        use Direction::{In, Out};
        let at = |ms: u64| Timestamp(ms * 1_000);
        let packets = [
            (Out, at(90)),
            (In, at(101)),
            (In, at(102)),
            (Out, at(104)),
            (In, at(150)),
            (Out, at(158)),
            (In, at(201)),
            (In, at(250)),
        ];
        let span = |start, end| Span {
            start: at(start),
            end: at(end),
        };
        let both = row(1, span(100, 200), &packets);
        assert_eq!(
            both,
            StartRow {
                number: 1,
                started_us: at(100),
                first_in_us: Some(at(101)),
                first_out_us: Some(at(104)),
                last_in_us: Some(at(150)),
                last_out_us: Some(at(158)),
            }
        );
        let none_out = row(2, span(200, 300), &packets);
        assert_eq!(none_out.last_in_us, Some(at(250)));
        assert_eq!((none_out.first_out_us, none_out.last_out_us), (None, None));
    }

    #[test]
    fn the_video_is_what_has_a_payload_from_the_robot_or_to_the_user() {
        let host = HostName::new("server").unwrap();
        let server = Server {
            host: &host,
            robot: IpAddr::from([10, 40, 0, 21]),
            user: IpAddr::from([10, 40, 0, 31]),
        };
        let check = |ends: &str, payload: &[u8], expected: Option<Direction>| {
            let packet = Packet {
                flow: Flow {
                    transport: Transport::Tcp,
                    endpoints: ends.parse().unwrap(),
                    is_outgoing: false,
                    interface: (0, 0),
                },
                payload,
                missing_bytes: 0,
                segment: None,
            };
            assert_eq!(server.direction(&packet), expected, "{ends}");
        };
        let out = "10.40.0.103:8080>10.40.0.31:40000";
        check("10.40.0.21:9>10.40.0.101:5000", &[1], Some(Direction::In));
        check(out, &[1], Some(Direction::Out));
        check(out, &[], None);
        check("10.40.0.31:40000>10.40.0.103:8080", &[1], None);
        check("10.40.0.101:9>10.40.0.102:5001", &[1], None);
    }
}
