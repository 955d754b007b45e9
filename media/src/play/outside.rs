//! An outside program decodes: the datagrams go to its input, raw pictures come from its output.

use std::io::{Read, Write};
use std::process::ChildStdin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use record::Timestamp;

use super::{Input, Screen};
use crate::MediaError;
use crate::net::RECEIVE_WAIT;
use crate::overlay::Damage;
use crate::picture::Picture;
use crate::program::{Output, Program, is_broken_pipe};

/// What the receiving side tells the showing side.
#[derive(Default)]
struct Shared {
    is_damaged: AtomicBool,
    frames_in: AtomicU64,
    overflowed: AtomicU64,
    /// The receiving side has ended on purpose.
    is_over: AtomicBool,
}

pub(super) fn run(
    command: &str,
    (width, height): (u32, u32),
    input: &mut Input,
    screen: &mut Screen,
    is_ended: impl Fn() -> bool + Sync,
) -> Result<(), MediaError> {
    let mut picture = Picture::new(width, height)?;
    let mut raw = vec![0; picture.raw_bytes()];
    let (program, stdin, stdout) = Program::start(command, Output::Piped)?;
    let mut stdout = stdout.ok_or_else(|| program.ended_early())?;
    let shared = Shared::default();
    let quit = AtomicBool::new(false);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let result = receive(input, stdin, &shared, || {
                is_ended() || quit.load(Ordering::Relaxed)
            });
            shared.is_over.store(true, Ordering::Relaxed);
            // Its input has ended; killed if it does not end, it closes its output, and the showing side ends.
            program.end();
            result
        });
        let mut show = || {
            while stdout.read_exact(&mut raw).is_ok() {
                let shown = Timestamp::now();
                picture.from_raw(&raw);
                let totals = &mut screen.meter.totals;
                totals.frames_in = shared.frames_in.load(Ordering::Relaxed);
                totals.datagrams_dropped = shared.overflowed.load(Ordering::Relaxed);
                screen.meter.frames_held = totals.frames_in.saturating_sub(totals.frames_out + 1);
                screen.show(
                    &picture,
                    shared.is_damaged.load(Ordering::Relaxed),
                    shown,
                    None,
                )?;
                screen.meter.report(shown);
            }
            Ok(())
        };
        let shown = show();
        let is_early = !shared.is_over.load(Ordering::Relaxed);
        quit.store(true, Ordering::Relaxed);
        drop(stdout);
        let received = receiving
            .join()
            .unwrap_or_else(|_| Err(program.ended_early()));
        shown.and(received).and_then(|()| {
            if is_early {
                Err(program.ended_early())
            } else {
                Ok(())
            }
        })
    })
}

fn receive(
    input: &mut Input,
    mut stdin: ChildStdin,
    shared: &Shared,
    is_ended: impl Fn() -> bool,
) -> Result<(), MediaError> {
    let mut damage = Damage::default();
    while !is_ended() && !input.is_over() {
        let mut written = Ok(());
        input.receive(RECEIVE_WAIT, |datagram, units| {
            shared
                .frames_in
                .fetch_add(units.len() as u64, Ordering::Relaxed);
            for unit in &units {
                let is_damaged = damage.follow(&unit.unit);
                shared.is_damaged.store(is_damaged, Ordering::Relaxed);
            }
            if written.is_ok() {
                written = stdin.write_all(datagram.bytes);
            }
        })?;
        shared
            .overflowed
            .store(input.network.counters().overflowed, Ordering::Relaxed);
        match written {
            Ok(()) => {}
            Err(error) if is_broken_pipe(&error) => break, // The showing side sees its end.
            Err(source) => {
                return Err(MediaError::Write {
                    path: "standard input of the decoder".into(),
                    source,
                });
            }
        }
    }
    Ok(())
}
