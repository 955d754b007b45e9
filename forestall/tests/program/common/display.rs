//! A real X server without a screen (Xvfb), and what one would see on it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) use media::watch::{Area, Shot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::Timestamp;
use wire::code_strip::{Strip, expand_time_us};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConnectionExt as _, EventMask, KEY_PRESS_EVENT, KeyButMask,
    KeyPressEvent, MapState, Window,
};
use x11rb::rust_connection::RustConnection;

use super::{Running, wait_for};

/// Pixels of the screen.
const SIZE: (u16, u16) = (800, 600);

/// An X server with a number of its own, reachable from this machine only. It has no window manager: a window is where and as large
/// as its program asks.
pub(crate) struct Display {
    process: Running,
    /// What programs are given as `DISPLAY`.
    pub(crate) name: String,
    screen: media::watch::Display,
    x: RustConnection,
    root: Window,
}

impl Display {
    pub(crate) fn start() -> Self {
        let mut command = Command::new("setpriv");
        // A test that is killed takes it along. -ac: other users may come in, as one for VLC, which refuses to be root.
        command
            .args(["--pdeathsig", "TERM", "Xvfb", "-displayfd", "1"])
            .args(["-nolisten", "tcp", "-ac", "-screen", "0"])
            .arg(format!("{}x{}x24", SIZE.0, SIZE.1))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = Running::start(command);
        let mut number = String::new();
        let mut said = BufReader::new(process.0.stdout.take().unwrap());
        said.read_line(&mut number).unwrap();
        assert!(
            !number.is_empty(),
            "Xvfb does not start: scripts/setup.sh --tests installs it"
        );
        let name = format!(":{}", number.trim());
        let (x, screen) = RustConnection::connect(Some(&name)).unwrap();
        let root = x.setup().roots[screen].root;
        Self {
            process,
            screen: media::watch::Display::open(&name).unwrap(),
            name,
            x,
            root,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.0.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// What one sees where windows are.
    pub(crate) fn shots(&self) -> Vec<Shot> {
        let windows = self.screen.windows().unwrap();
        windows
            .iter()
            .filter_map(|window| self.screen.shot(window).unwrap())
            .collect()
    }

    /// The camera's code strip on the screen.
    pub(crate) fn strip(&self) -> Option<Strip> {
        self.shots().iter().find_map(Shot::capture_strip)
    }

    /// The number of the camera's frame on the screen, once it is one that was taken less than `ago` before.
    pub(crate) fn live_frame(&self, ago: Duration) -> u32 {
        let mut frame = 0;
        wait_for("a live picture on the screen", || {
            let Some(strip) = self.strip() else {
                return false;
            };
            frame = strip.b;
            let now = Timestamp::now();
            let captured = Timestamp(expand_time_us(strip.a, now.as_micros()));
            captured <= now && now.since(captured) < ago
        });
        frame
    }

    /// The only window.
    pub(crate) fn window(&self) -> Window {
        let children = self.x.query_tree(self.root).unwrap().reply().unwrap();
        let is_seen = |window: &Window| {
            // It may have gone in between.
            let attributes = self.x.get_window_attributes(*window).unwrap().reply();
            attributes.is_ok_and(|attributes| attributes.map_state == MapState::VIEWABLE)
        };
        let seen: Vec<Window> = children.children.into_iter().filter(is_seen).collect();
        assert_eq!(seen.len(), 1);
        seen[0]
    }

    pub(crate) fn title(&self) -> String {
        let name = AtomEnum::WM_NAME;
        let ask = self
            .x
            .get_property(false, self.window(), name, AtomEnum::STRING, 0, 1000);
        String::from_utf8(ask.unwrap().reply().unwrap().value).unwrap()
    }

    /// Tells the only window what a window manager does whose close button is pressed.
    pub(crate) fn press_close(&self) {
        let atom = |name: &str| {
            let ask = self.x.intern_atom(true, name.as_bytes()).unwrap();
            ask.reply().unwrap().atom
        };
        let data = [atom("WM_DELETE_WINDOW"), 0, 0, 0, 0];
        let window = self.window();
        let message = ClientMessageEvent::new(32, window, atom("WM_PROTOCOLS"), data);
        self.send(window, EventMask::NO_EVENT, message);
    }

    /// Gives the only window a key that has this sign.
    pub(crate) fn press(&self, sign: u32) {
        let (first, last) = (self.x.setup().min_keycode, self.x.setup().max_keycode);
        let ask = self
            .x
            .get_keyboard_mapping(first, last - first + 1)
            .unwrap();
        let map = ask.reply().unwrap();
        let mut keys = (first..=last).zip(map.keysyms.chunks(map.keysyms_per_keycode.into()));
        let (key, _) = keys.find(|(_, signs)| signs.contains(&sign)).unwrap();
        let window = self.window();
        let event = KeyPressEvent {
            response_type: KEY_PRESS_EVENT,
            detail: key,
            sequence: 0,
            time: 0,
            root: self.root,
            event: window,
            child: 0,
            root_x: 0,
            root_y: 0,
            event_x: 0,
            event_y: 0,
            state: KeyButMask::default(),
            same_screen: true,
        };
        self.send(window, EventMask::KEY_PRESS, event);
    }

    /// Gives the only window another size, as somebody at its corner does.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let size = x11rb::protocol::xproto::ConfigureWindowAux::new()
            .width(width)
            .height(height);
        self.x.configure_window(self.window(), &size).unwrap();
        self.x.flush().unwrap();
    }

    fn send(&self, window: Window, mask: EventMask, event: impl Into<[u8; 32]>) {
        self.x.send_event(false, window, mask, event).unwrap();
        self.x.flush().unwrap();
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // In order, so that it takes its socket and its lock file away; it may have been stopped, or have ended.
        if let Ok(None) = self.process.0.try_wait() {
            self.signal(Signal::SIGTERM);
            self.signal(Signal::SIGCONT);
            let _ = self.process.0.wait();
        }
    }
}
