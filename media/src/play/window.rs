//! A window on an X server, which shows each picture as soon as the server takes it.
//!
//! ```text
//! Screen::show --> [one picture waits] --> the window's thread --> X server
//! ```
//! The screen never waits for the server. One picture at most is with it, and the next is put once it has answered; while it
//! does not, the newest picture takes the place of the one that waits. Nothing waits for the display's refresh.
//!
//! Pictures go through the socket: sharing memory with the server (MIT-SHM) would save copying a megabyte, some tenths of a
//! millisecond, at the price of `unsafe`, and works on the same machine only.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use record::Timestamp;
use x11rb::connection::Connection;
use x11rb::errors::{ConnectError, ConnectionError, ReplyOrIdError};
use x11rb::image::{BitsPerPixel, Image, ImageOrder, PixelLayout, ScanlinePad};
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ConfigureWindowAux, ConnectionExt as _, CreateGCAux, CreateWindowAux, EventMask,
    Keycode, PropMode, Screen, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use crate::error::ErrorKind;
use crate::picture::Picture;
use crate::x_server::connect;
use crate::{MediaError, StreamUrl};

/// Longest wait for the server to connect and to make the window.
const OPEN_WAIT: Duration = Duration::from_secs(5);
/// Without a picture, the window looks this often for keys, for its end, and whether the server is there.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The title says the picture's age anew this often.
const TITLE_EVERY: Duration = Duration::from_secs(1);
/// Pixels of the window before the first picture, which gives it its size.
const FIRST_SIZE: (u16, u16) = (640, 480);
/// Keys that end the player (`X11/keysymdef.h`): q, Q and Escape.
const END_KEYS: [u32; 3] = [0x71, 0x51, 0xff1b];

/// Why there is no window, or no longer one.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// `DISPLAY` is not set.
    #[error(
        "there is no X server to open a window on: DISPLAY is not set; start this on a desktop, set DISPLAY (like \
         DISPLAY=:0), or leave --window out"
    )]
    NoDisplay,
    /// Nobody is there, or whoever is there does not want us.
    #[error(
        "cannot open a window on the X server {display}; start this on a desktop as its user, set DISPLAY to a server that \
         lets this user in, or leave --window out"
    )]
    Connect {
        /// What `DISPLAY` says.
        display: String,
        /// What went wrong.
        source: ConnectError,
    },
    /// It did not answer while the window was to be opened.
    #[error(
        "cannot open a window on the X server {display}: it did not answer for {} s; set DISPLAY to another, or leave \
         --window out",
        OPEN_WAIT.as_secs()
    )]
    Silent {
        /// What `DISPLAY` says.
        display: String,
    },
    /// Its pixels are numbers of a palette, or grey.
    #[error(
        "cannot open a window on the X server {display}: its screen shows no true colours; leave --window out"
    )]
    Colours {
        /// What `DISPLAY` says.
        display: String,
    },
    /// It went away, or refused something.
    #[error("the X server {display} has gone, or refused the window")]
    Lost {
        /// What `DISPLAY` says.
        display: String,
        /// What went wrong.
        source: ReplyOrIdError,
    },
}

impl WindowError {
    /// What a person does about it.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Lost { .. } => ErrorKind::Failed,
            _ => ErrorKind::Missing,
        }
    }
}

/// A window, closed when it goes out of scope.
pub(crate) struct Window {
    shared: Arc<Shared>,
    /// The thread's connection: shut down, it ends whatever the thread waits for.
    connection: OwnedFd,
    thread: Option<JoinHandle<Result<(), WindowError>>>,
}

/// What the screen and the window's thread have in common.
#[derive(Default)]
struct Shared {
    slot: Mutex<Slot>,
    changed: Condvar,
    closed: Arc<AtomicBool>,
}

#[derive(Default)]
struct Slot {
    waiting: Option<Waiting>,
    /// Memory of a picture that was put, to be used again.
    spare: Option<Picture>,
    /// The screen wants no window any more.
    is_over: bool,
}

struct Waiting {
    picture: Picture,
    captured: Option<Timestamp>,
}

impl Window {
    /// A window for pictures of `input`.
    pub(super) fn open(input: &StreamUrl) -> Result<Self, WindowError> {
        let display = std::env::var_os("DISPLAY").unwrap_or_default();
        let display = display.to_string_lossy().into_owned();
        if display.is_empty() {
            return Err(WindowError::NoDisplay);
        }
        Self::open_on(&display, &input.to_string(), None)
    }

    /// A window on a server; `at` a place of the screen, in pixels, where no window manager may take it away from.
    pub(crate) fn open_on(
        display: &str,
        title: &str,
        at: Option<(u16, u16)>,
    ) -> Result<Self, WindowError> {
        let (display, title) = (display.to_owned(), title.to_owned());
        let shared = Arc::<Shared>::default();
        let (opened, is_opened) = sync_channel(1);
        let thread = thread::spawn({
            let (shared, display) = (Arc::clone(&shared), display.clone());
            move || {
                let (mut surface, connection) = match Surface::open(&display, &title, at) {
                    Ok(open) => open,
                    Err(error) => {
                        // Who does not wait any more has told that nothing answers.
                        let _ = opened.send(Err(error));
                        return Ok(());
                    }
                };
                // Nobody waits for it any more: it came too late.
                if opened.send(Ok(connection)).is_err() {
                    return Ok(());
                }
                let result = shared.run(&mut surface, &title);
                shared.closed.store(true, Ordering::Relaxed);
                result.map_err(|source| WindowError::Lost { display, source })
            }
        });
        // A thread that the server keeps waiting stays in its system call: this error ends the process.
        let connection = is_opened
            .recv_timeout(OPEN_WAIT)
            .unwrap_or(Err(WindowError::Silent { display }))?;
        Ok(Self {
            shared,
            connection,
            thread: Some(thread),
        })
    }

    /// Becomes true when whoever looks at the window has closed it, or when it has failed.
    pub(super) fn closed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.closed)
    }

    /// Hands a copy of `picture` over; whether it replaces one that was never put.
    pub(crate) fn show(
        &self,
        picture: &Picture,
        captured: Option<Timestamp>,
    ) -> Result<bool, MediaError> {
        let mut slot = self.shared.slot();
        let replaced = slot.waiting.take();
        let is_replaced = replaced.is_some();
        let memory = match replaced {
            Some(waiting) => Some(waiting.picture),
            None => slot.spare.take(),
        };
        let picture = picture.copy(memory)?;
        slot.waiting = Some(Waiting { picture, captured });
        self.shared.changed.notify_one();
        Ok(is_replaced)
    }

    /// Closes it; says why it ended, if nobody wanted that.
    pub(crate) fn close(mut self) -> Result<(), WindowError> {
        let thread = self.thread.take();
        drop(self);
        let Some(thread) = thread else { return Ok(()) };
        let ended = thread.join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.shared.slot().is_over = true;
        self.shared.changed.notify_one();
        // The server may have done so already.
        let _ = shutdown(self.connection.as_raw_fd(), Shutdown::Both);
    }
}

impl Shared {
    /// A thread that panicked while it held the slot left it whole.
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The window's thread: puts pictures until one side wants no more.
    fn run(&self, surface: &mut Surface, title: &str) -> Result<(), ReplyOrIdError> {
        match self.put(surface, title) {
            // The connection was shut down on purpose.
            Err(_) if self.slot().is_over => Ok(()),
            result => result,
        }
    }

    fn put(&self, surface: &mut Surface, title: &str) -> Result<(), ReplyOrIdError> {
        let (mut on_screen, mut titled) = (None, Timestamp::now());
        loop {
            let mut slot = self.slot();
            if slot.waiting.is_none() && !slot.is_over {
                let waited = self.changed.wait_timeout(slot, LOOK_EVERY);
                slot = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            if slot.is_over {
                return Ok(());
            }
            let waiting = slot.waiting.take();
            drop(slot);
            if let Some(Waiting { picture, captured }) = waiting {
                surface.show(&picture)?;
                on_screen = captured;
                self.slot().spare = Some(picture);
            }
            if surface.is_closed()? {
                return Ok(());
            }
            let now = Timestamp::now();
            if now.since(titled) >= TITLE_EVERY {
                titled = now;
                let age = on_screen.map(|at| format!(" - {:.0} ms", now.seconds_after(at) * 1e3));
                surface.set_title(&format!("{title}{}", age.unwrap_or_default()))?;
            }
        }
    }
}

x11rb::atom_manager! {
    /// Names that the server has numbers for.
    Atoms: AtomsCookie {
        WM_PROTOCOLS,
        WM_DELETE_WINDOW,
        _NET_WM_NAME,
        UTF8_STRING,
    }
}

/// The window as the server knows it.
struct Surface {
    x: RustConnection,
    atoms: Atoms,
    window: u32,
    context: u32,
    target: Target,
    end_keys: Vec<Keycode>,
    /// Of the window, in pixels.
    size: (u16, u16),
    /// What is on it: little-endian numbers of 32 bits, one a pixel.
    image: Option<Image<'static>>,
}

/// The screen that it is on.
struct Target {
    root: u32,
    depth: u8,
    /// The bits of a pixel for each value of red, green and blue.
    bits: [[u32; 256]; 3],
}

impl Surface {
    /// A window, and the connection that it has to the server.
    fn open(
        display: &str,
        title: &str,
        at: Option<(u16, u16)>,
    ) -> Result<(Self, OwnedFd), WindowError> {
        let named = || display.to_owned();
        let connected = connect(display);
        let (x, screen) = connected.map_err(|source| WindowError::Connect {
            display: named(),
            source,
        })?;
        let target = Target::of(&x.setup().roots[screen])
            .ok_or_else(|| WindowError::Colours { display: named() })?;
        let connection = x.stream().as_fd().try_clone_to_owned();
        let lost = |source| WindowError::Lost {
            display: named(),
            source,
        };
        let connection = connection.map_err(|source| lost(ConnectionError::from(source).into()))?;
        let surface = Self::make(x, target, title, at).map_err(lost)?;
        Ok((surface, connection))
    }

    fn make(
        x: RustConnection,
        target: Target,
        title: &str,
        at: Option<(u16, u16)>,
    ) -> Result<Self, ReplyOrIdError> {
        let (left, top) = at.unwrap_or_default();
        let atoms = Atoms::new(&x)?.reply()?;
        let (window, context) = (x.generate_id()?, x.generate_id()?);
        let events = EventMask::EXPOSURE | EventMask::STRUCTURE_NOTIFY | EventMask::KEY_PRESS;
        x.create_window(
            target.depth,
            window,
            target.root,
            left as i16,
            top as i16,
            FIRST_SIZE.0,
            FIRST_SIZE.1,
            0,
            WindowClass::INPUT_OUTPUT,
            x11rb::COPY_FROM_PARENT,
            // Black, which all true colours have as 0.
            &CreateWindowAux::new()
                .background_pixel(0)
                .override_redirect(u32::from(at.is_some()))
                .event_mask(events),
        )?;
        x.create_gc(context, window, &CreateGCAux::new())?;
        x.change_property32(
            PropMode::REPLACE,
            window,
            atoms.WM_PROTOCOLS,
            AtomEnum::ATOM,
            &[atoms.WM_DELETE_WINDOW],
        )?;
        let class = b"forestall\0Forestall\0";
        let (replace, text) = (PropMode::REPLACE, AtomEnum::STRING);
        x.change_property8(replace, window, AtomEnum::WM_CLASS, text, class)?;
        let end_keys = end_keys(&x)?;
        let surface = Self {
            x,
            atoms,
            window,
            context,
            target,
            end_keys,
            size: FIRST_SIZE,
            image: None,
        };
        surface.set_title(title)?;
        surface.x.map_window(window)?;
        surface.x.sync()?;
        Ok(surface)
    }

    fn set_title(&self, title: &str) -> Result<(), ReplyOrIdError> {
        for (name, kind) in [
            (self.atoms._NET_WM_NAME, self.atoms.UTF8_STRING),
            (AtomEnum::WM_NAME.into(), AtomEnum::STRING.into()),
        ] {
            let title = title.as_bytes();
            self.x
                .change_property8(PropMode::REPLACE, self.window, name, kind, title)?;
        }
        Ok(self.x.flush()?)
    }

    /// Puts a picture; one of another size gives the window its size.
    fn show(&mut self, picture: &Picture) -> Result<(), ReplyOrIdError> {
        let size = (picture.width() as u16, picture.height() as u16);
        let is_same = |image: &Image<'_>| (image.width(), image.height()) == size;
        let mut image = match self.image.take().filter(is_same) {
            Some(image) => image,
            None => self.resize(size)?,
        };
        let mut pixels = image.data_mut().chunks_exact_mut(4);
        let [reds, greens, blues] = &self.target.bits;
        picture.each_rgb(|[red, green, blue]| {
            let bits =
                reds[usize::from(red)] | greens[usize::from(green)] | blues[usize::from(blue)];
            if let Some(pixel) = pixels.next() {
                pixel.copy_from_slice(&bits.to_le_bytes());
            }
        });
        self.image = Some(image);
        self.paint()
    }

    /// Asks for a window of `size`, and gives an image for it.
    fn resize(&mut self, size: (u16, u16)) -> Result<Image<'static>, ReplyOrIdError> {
        let (width, height) = (Some(size.0.into()), Some(size.1.into()));
        let wanted = ConfigureWindowAux {
            width,
            height,
            ..Default::default()
        };
        self.x.configure_window(self.window, &wanted)?;
        // Where the window stays as it is, what was there before must not stay around the picture.
        self.x.clear_area(false, self.window, 0, 0, 0, 0)?;
        // Till the server says otherwise.
        self.size = size;
        let (pad, bits) = (ScanlinePad::Pad32, BitsPerPixel::B32);
        let depth = self.target.depth;
        Ok(Image::allocate(
            size.0,
            size.1,
            pad,
            depth,
            bits,
            ImageOrder::LsbFirst,
        ))
    }

    /// Puts the picture that is there in the middle of the window, and waits until the server has it.
    fn paint(&self) -> Result<(), ReplyOrIdError> {
        if let Some(image) = &self.image {
            let begin = |window: u16, picture: u16| (i32::from(window) - i32::from(picture)) / 2;
            let x = begin(self.size.0, image.width()) as i16;
            let y = begin(self.size.1, image.height()) as i16;
            image.put(&self.x, self.window, self.context, x, y)?;
        }
        Ok(self.x.sync()?)
    }

    /// Works off what the server tells; whether that ends the player.
    fn is_closed(&mut self) -> Result<bool, ReplyOrIdError> {
        let mut is_spoilt = false;
        while let Some(event) = self.x.poll_for_event()? {
            match event {
                Event::ClientMessage(message) if message.type_ == self.atoms.WM_PROTOCOLS => {
                    return Ok(true); // Only one was named.
                }
                Event::KeyPress(key) if self.end_keys.contains(&key.detail) => return Ok(true),
                Event::DestroyNotify(_) => return Ok(true),
                Event::ConfigureNotify(now) if self.size != (now.width, now.height) => {
                    self.size = (now.width, now.height);
                    // Meanwhile a picture may have been put where the middle was before.
                    self.x.clear_area(false, self.window, 0, 0, 0, 0)?;
                    is_spoilt = true;
                }
                Event::Expose(_) => is_spoilt = true,
                Event::Error(error) => return Err(error.into()),
                _ => {}
            }
        }
        if is_spoilt {
            self.paint()?;
        }
        Ok(false)
    }
}

impl Target {
    /// `None` where pixels are no true colours.
    fn of(screen: &Screen) -> Option<Self> {
        let mut visuals = screen
            .allowed_depths
            .iter()
            .flat_map(|depth| &depth.visuals);
        let visual = visuals.find(|visual| visual.visual_id == screen.root_visual)?;
        let layout = PixelLayout::from_visual_type(*visual).ok()?;
        let mut bits = [[0; 256]; 3];
        for value in 0..=u8::MAX {
            let (at, wide) = (usize::from(value), u16::from_ne_bytes([value; 2]));
            bits[0][at] = layout.encode((wide, 0, 0));
            bits[1][at] = layout.encode((0, wide, 0));
            bits[2][at] = layout.encode((0, 0, wide));
        }
        Some(Self {
            root: screen.root,
            depth: screen.root_depth,
            bits,
        })
    }
}

/// The keys of this keyboard that end the player.
fn end_keys(x: &RustConnection) -> Result<Vec<Keycode>, ReplyOrIdError> {
    let (first, last) = (x.setup().min_keycode, x.setup().max_keycode);
    let count = last.saturating_sub(first).saturating_add(1);
    let map = x.get_keyboard_mapping(first, count)?.reply()?;
    let per_key = usize::from(map.keysyms_per_keycode).max(1);
    let keys = (first..=last).zip(map.keysyms.chunks(per_key));
    let ends = |(key, signs): (Keycode, &[u32])| {
        let is_end = signs.iter().any(|sign| END_KEYS.contains(sign));
        is_end.then_some(key)
    };
    Ok(keys.filter_map(ends).collect())
}
