//! A real X server without a screen (Xvfb), and what one would see on it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use record::Timestamp;
use wire::code_strip::{Place, Plane, Strip, expand_time_us};
use x11rb::connection::Connection;
use x11rb::image::Image;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConnectionExt as _, EventMask, GetGeometryReply, KEY_PRESS_EVENT,
    KeyButMask, KeyPressEvent, MapState, Window,
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
            name,
            x,
            root,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.0.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Windows that are to be seen, and where.
    fn windows(&self) -> Vec<(Window, GetGeometryReply)> {
        let children = self.x.query_tree(self.root).unwrap().reply().unwrap();
        let seen = |window: Window| {
            // It may have gone in between.
            let attributes = self.x.get_window_attributes(window).unwrap().reply().ok()?;
            let geometry = self.x.get_geometry(window).unwrap().reply().ok()?;
            (attributes.map_state == MapState::VIEWABLE).then_some((window, geometry))
        };
        children.children.into_iter().filter_map(seen).collect()
    }

    /// What one sees where windows are.
    pub(crate) fn shots(&self) -> Vec<Shot> {
        let windows = self.windows();
        windows
            .iter()
            .filter_map(|(_, place)| self.shot(place))
            .collect()
    }

    /// What one sees of the screen at a place; `None` where the screen ends before it.
    fn shot(&self, at: &GetGeometryReply) -> Option<Shot> {
        let ends = |begin: i16, length: u16| i32::from(begin) + i32::from(length);
        let is_inside = at.x >= 0
            && at.y >= 0
            && ends(at.x, at.width) <= SIZE.0.into()
            && ends(at.y, at.height) <= SIZE.1.into();
        if !is_inside {
            return None;
        }
        let image = Image::get(&self.x, self.root, at.x, at.y, at.width, at.height);
        let image = image.unwrap().0;
        let rgb = |y| {
            let image = &image;
            (0..at.width).map(move |x| {
                let [_, red, green, blue] = image.get_pixel(x, y).to_be_bytes();
                [red, green, blue]
            })
        };
        Some(Shot {
            width: at.width,
            pixels: (0..at.height).flat_map(rgb).collect(),
        })
    }

    /// The camera's code strip on the screen.
    pub(crate) fn strip(&self) -> Option<Strip> {
        self.shots().iter().find_map(Shot::strip)
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
        let windows = self.windows();
        assert_eq!(windows.len(), 1);
        windows[0].0
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

/// A part of the screen.
pub(crate) struct Shot {
    width: u16,
    /// Red, green and blue, rows from the top.
    pixels: Vec<[u8; 3]>,
}

impl Shot {
    /// Pixels.
    pub(crate) fn size(&self) -> (u16, u16) {
        let height = self.pixels.len() / usize::from(self.width);
        (self.width, height as u16)
    }

    /// Red, green and blue.
    pub(crate) fn pixel(&self, x: u16, y: u16) -> [u8; 3] {
        self.pixels[usize::from(y) * usize::from(self.width) + usize::from(x)]
    }

    /// A part of it that begins at `(x, y)`.
    pub(crate) fn part(&self, (x, y): (u16, u16), (width, height): (u16, u16)) -> Self {
        let row = |y| (x..x + width).map(move |x| self.pixel(x, y));
        Self {
            width,
            pixels: (y..y + height).flat_map(row).collect(),
        }
    }

    /// The camera's code strip in it.
    pub(crate) fn strip(&self) -> Option<Strip> {
        // The strip has no colour: green is as bright as it is.
        let data: Vec<u8> = self.pixels.iter().map(|pixel| pixel[1]).collect();
        let (width, height) = self.size();
        let plane = Plane {
            data: &data,
            stride: width.into(),
            width: width.into(),
            height: height.into(),
        };
        Strip::read(Place::Bottom, plane)
    }
}
