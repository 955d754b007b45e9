//! One placement, measured.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use record::raw::{PhaseRow, PingRow};
use record::{HostName, Timestamp};
use scenario::Placement;
use scenario::placement::PlacedFunction;

use super::How;
use super::machine::Machines;
use super::service::{Service, place};
use super::starts;
use super::vpn::{self, Vpn};
use super::wiring::{DATA, Kernel, LinkEmulation, Wiring, seed_of};
use crate::capture::{ARRIVALS, Capture};
use crate::cgroup::{Cgroups, PRECEDENCE, ROOT};
use crate::check::Accelerator;
use crate::error::LabError;
use crate::ffplay;
use crate::guest::Guest;
use crate::monitor::{Monitor, Watched};
use crate::process::{Process, own, run as program, tail};
use crate::progress::Progress;
use crate::run::write_rows;
use crate::site::Site;
use crate::taps::Taps;

/// Time for the chain to reach its steady state.
const SETTLE: Duration = Duration::from_secs(3);
/// Between two pings.
const PING_EVERY_S: f64 = 0.1;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The placement.
    pub placement: &'a Placement,
    /// How.
    pub how: How<'a>,
    /// Where the raw data goes; it exists and is empty.
    pub folder: &'a Path,
}

/// Measures: pings from the user to where the functions are while nothing else is sent, then the service for a while. Leaves
/// `ping.csv`, with a VPN `ping-vpn.csv`, `sent.csv`, `frames.csv`, `load.csv` (of the machine), `arrivals.pcap` (at the player's link layer)
/// and `phases.csv`; in place of the last two `starts.csv`, where streaming is started and stopped repeatedly.
///
/// # Errors
/// When something fails or the person interrupts.
pub fn run(
    plan: &Plan<'_>,
    accelerator: Accelerator,
    kernel: Kernel,
    interrupted: &AtomicBool,
    progress: &mut Progress,
) -> Result<LinkEmulation, LabError> {
    let placement = plan.placement;
    ffplay::require(placement.video.viewer)?;
    if placement.vpn {
        vpn::require()?;
    }
    let guest = Guest::build(placement.video.chain)?;
    let site = Site::claim()?;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let all = format!("0-{}", cpus - 1);
    for group in [
        ROOT.to_owned(),
        format!("{ROOT}/links"),
        format!("{ROOT}/service"),
    ] {
        site.groups().create(&group, &all, PRECEDENCE)?;
    }
    progress.now("hosts and links");
    let wiring = Wiring::stand(placement, kernel, seed_of(plan.folder), &site.state())?;
    pings(plan, &site.state(), progress)?;
    let machines = Machines {
        guest,
        chain: placement.video.chain,
        accelerator,
        state: site.state(),
    };
    let start = |function: &PlacedFunction, command: &str| {
        let address = function.machine.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED);
        machines.start(function.host.as_ref(), address, command)
    };
    progress.now("starting the service");
    let service = Service::start(placement, start, plan.folder, interrupted)?;
    wait(SETTLE, interrupted)?;
    let groups = site.groups();
    match plan.how.starts {
        Some(count) => starts::measure(plan, count, service, groups, interrupted, progress)?,
        None => watch(plan, service, groups, interrupted, progress)?,
    }
    Ok(wiring.emulation)
}

/// Looks at a service that runs for a while, and ends it.
fn watch(
    plan: &Plan<'_>,
    mut service: Service,
    groups: &Cgroups,
    interrupted: &AtomicBool,
    progress: &mut Progress,
) -> Result<(), LabError> {
    let user = place(plan.placement.user.as_ref());
    let mut capture = Capture::start(&user, DATA, plan.folder, ARRIVALS)?;
    let mut taps = Taps::start(plan.how.taps, plan.folder)?;
    let mut shots = plan
        .how
        .shots
        .map(|shots| take_shots(plan, &service, shots))
        .transpose()?;
    let monitor = Monitor::start(vec![Watched::this_machine(groups)])?;
    let from = Timestamp::now();
    let end = from + plan.how.duration;
    while Timestamp::now() < end {
        if let Some(shots) = &mut shots
            && shots.has_succeeded()?
        {
            break;
        }
        service.check()?;
        capture.check()?;
        taps.check()?;
        let left = (end - Duration::ZERO).seconds_after(Timestamp::now());
        progress.now(&format!("measuring, {left:.0} s to go"));
        wait(Duration::from_millis(250), interrupted)?;
    }
    let to = Timestamp::now();
    if let Some(shots) = &mut shots
        && !shots.has_succeeded()?
    {
        return Err(LabError::Late {
            what: "the screenshots".into(),
            seconds: plan.how.duration.as_secs_f64(),
            hint: tail(&plan.folder.join("screenshots.log")),
        });
    }
    write_rows(&plan.folder.join("load.csv"), &monitor.rows()?)?;
    capture.end();
    drop(service);
    taps.end(plan.folder)?;
    let phase = PhaseRow {
        phase: "idle".into(),
        start_us: from,
        end_us: to,
    };
    write_rows(&plan.folder.join("phases.csv"), &[phase])
}

/// Starts to take screenshots; it ends by itself.
fn take_shots(plan: &Plan<'_>, service: &Service, shots: u32) -> Result<Process, LabError> {
    let screen = service
        .screen()
        .ok_or_else(|| LabError::Missing("a player with a window".into()))?;
    let mut argv = vec![own()];
    let shots = shots.to_string();
    let words = [
        "measure",
        "screenshots",
        "--display",
        screen,
        "--shots",
        &shots,
        "--out",
    ];
    argv.extend(words.map(String::from));
    argv.push(plan.folder.join("shots").to_string_lossy().into_owned());
    let user = place(plan.placement.user.as_ref());
    Process::start(&user, &argv, &plan.folder.join("screenshots.log"))
}

/// Round trips from the user to where the functions are; where the placement says so, through a VPN, too.
fn pings(plan: &Plan<'_>, state: &Path, progress: &mut Progress) -> Result<(), LabError> {
    let placement = plan.placement;
    let host = placement
        .functions
        .last()
        .map_or(placement.robot.as_ref(), |last| last.host.as_ref());
    let address = |host: &HostName| {
        let station = placement.hosts.get(host);
        let found = station.map(|station| station.address);
        found.ok_or_else(|| LabError::Missing(format!("no host {host}")))
    };
    let user = placement.user.as_ref();
    progress.now(&format!("{} pings to {host}", plan.how.pings));
    ping(plan, address(host)?, "ping.csv")?;
    if placement.vpn {
        let ends = [(user, address(user)?), (host, address(host)?)];
        let _vpn = Vpn::stand(ends, state)?;
        progress.now(&format!(
            "{} pings to {host} through the VPN",
            plan.how.pings
        ));
        ping(plan, Vpn::far(), "ping-vpn.csv")?;
    }
    Ok(())
}

fn ping(plan: &Plan<'_>, to: Ipv4Addr, csv: &str) -> Result<(), LabError> {
    // One more, which is not counted: it waits until the hosts have found each other (ARP, the VPN's keys).
    let count = (plan.how.pings + 1).to_string();
    let (every, address) = (PING_EVERY_S.to_string(), to.to_string());
    let argv = ["ping", "-n", "-c", &count, "-i", &every, &address].map(String::from);
    let line = place(plan.placement.user.as_ref()).command(&argv);
    let arguments: Vec<&str> = line.iter().skip(1).map(String::as_str).collect();
    let answer = program(&line[0], &arguments)?;
    let rows: Vec<PingRow> = answer.lines().filter_map(reply).collect();
    let counted: Vec<PingRow> = rows.into_iter().filter(|row| row.number > 0).collect();
    write_rows(&plan.folder.join(csv), &counted)
}

/// `64 bytes from 10.40.0.51: icmp_seq=2 ttl=64 time=170.4 ms`
fn reply(line: &str) -> Option<PingRow> {
    let after = |key: &str| {
        let rest = line.split_once(key)?.1;
        rest.split_whitespace().next()
    };
    let number: u32 = after("icmp_seq=")?.parse().ok()?;
    Some(PingRow {
        number: number.checked_sub(1)?,
        rtt_ms: after("time=")?.parse().ok()?,
    })
}

pub(super) fn wait(duration: Duration, interrupted: &AtomicBool) -> Result<(), LabError> {
    let end = std::time::Instant::now() + duration;
    while std::time::Instant::now() < end {
        crate::error::unless_interrupted(interrupted)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    crate::error::unless_interrupted(interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read() {
        for (line, wanted) in [
            (
                "64 bytes from 10.40.0.51: icmp_seq=2 ttl=64 time=170.4 ms",
                Some((1, 170.4)),
            ),
            ("PING 10.40.0.51 (10.40.0.51) 56(84) bytes of data.", None),
            (
                "From 10.40.0.31 icmp_seq=3 Destination Host Unreachable",
                None,
            ),
            ("--- 10.40.0.51 ping statistics ---", None),
        ] {
            let seen = reply(line).map(|row| (row.number, row.rtt_ms));
            assert_eq!(seen, wanted, "{line}");
        }
    }
}
