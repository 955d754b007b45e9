//! Preloaded into `ffplay` (`LD_PRELOAD`), says when each frame of the clock picture was read, decoded and presented: `ffplay` itself tells
//! nobody.
//!
//! ```text
//! ffplay -- av_read_frame ---------> libavformat     read
//!        -- avcodec_send_packet ---> libavcodec     sent: out of ffplay's queue
//!        -- avcodec_receive_frame -> libavcodec      decoded
//!        -- SDL_Update..Texture ---> SDL             drawn: which frame is presented next
//!        -- SDL_RenderPresent -----> SDL             presented
//! ```
//!
//! Each of these calls comes here first, goes on as it is, and is noted. A packet is known by its presentation time, a frame by its code
//! strip. A row a frame ([`record::raw::PlayerRow`]) goes to the file that the environment names; where it names none, nothing is done. Only
//! the beginnings of FFmpeg's structures are known here (`picture.rs`): nothing of FFmpeg or SDL is linked.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![allow(unsafe_code, reason = "what stands between C and C speaks C")]

mod frames;
mod original;
mod picture;
mod player;

use std::ffi::{c_int, c_void};

use record::Timestamp;
use wire::code_strip::{Place, Strip};

use original::Original;
use picture::{Frame, Packet, is_packed, packed_strip, plane};
use player::note;

/// What is answered where a function is nowhere: a player that calls it would not have started.
const NOWHERE: c_int = -libc::ENOSYS;

type ReadFrame = unsafe extern "C" fn(*mut c_void, *mut Packet) -> c_int;
type SendPacket = unsafe extern "C" fn(*mut c_void, *const Packet) -> c_int;
type ReceiveFrame = unsafe extern "C" fn(*mut c_void, *mut Frame) -> c_int;
type QueryTexture =
    unsafe extern "C" fn(*mut c_void, *mut u32, *mut c_int, *mut c_int, *mut c_int) -> c_int;
type UpdateTexture =
    unsafe extern "C" fn(*mut c_void, *const c_void, *const c_void, c_int) -> c_int;
type UpdateYuvTexture = unsafe extern "C" fn(
    *mut c_void,
    *const c_void,
    *const u8,
    c_int,
    *const u8,
    c_int,
    *const u8,
    c_int,
) -> c_int;
type RenderPresent = unsafe extern "C" fn(*mut c_void);

// SAFETY: its type in libavformat's `avformat.h`.
static READ_FRAME: Original<ReadFrame> = unsafe { Original::named(c"av_read_frame") };
// SAFETY: its type in libavcodec's `avcodec.h`, as that of the next one.
static SEND_PACKET: Original<SendPacket> = unsafe { Original::named(c"avcodec_send_packet") };
// SAFETY: as above.
static RECEIVE_FRAME: Original<ReceiveFrame> = unsafe { Original::named(c"avcodec_receive_frame") };
// SAFETY: its type in SDL's `SDL_render.h`, as those of the next three.
static QUERY_TEXTURE: Original<QueryTexture> = unsafe { Original::named(c"SDL_QueryTexture") };
// SAFETY: as above.
static UPDATE_TEXTURE: Original<UpdateTexture> = unsafe { Original::named(c"SDL_UpdateTexture") };
// SAFETY: as above.
static UPDATE_YUV_TEXTURE: Original<UpdateYuvTexture> =
    unsafe { Original::named(c"SDL_UpdateYUVTexture") };
// SAFETY: as above.
static RENDER_PRESENT: Original<RenderPresent> = unsafe { Original::named(c"SDL_RenderPresent") };

/// A packet comes out of the demuxer.
///
/// # Safety
/// What libavformat asks for.
#[unsafe(no_mangle)]
unsafe extern "C" fn av_read_frame(context: *mut c_void, packet: *mut Packet) -> c_int {
    let Some(original) = READ_FRAME.get() else {
        return NOWHERE;
    };
    // SAFETY: the caller's own arguments.
    let answer = unsafe { original(context, packet) };
    let at = Timestamp::now();
    if answer >= 0 {
        note(|player| {
            // SAFETY: it was just filled, nobody else has it yet, and a player is there only for versions of FFmpeg whose packets are known.
            let packet = unsafe { &*packet };
            player.frames.read(packet.pts, at);
        });
    }
    answer
}

/// A packet is given to the decoder, which may decode it in this very call: it counts from its begin.
///
/// # Safety
/// What libavcodec asks for.
#[unsafe(no_mangle)]
unsafe extern "C" fn avcodec_send_packet(context: *mut c_void, packet: *const Packet) -> c_int {
    let Some(original) = SEND_PACKET.get() else {
        return NOWHERE;
    };
    let at = Timestamp::now();
    note(|player| {
        // SAFETY: the caller gives a packet or, at the stream's end, none; nobody changes it meanwhile, and a player is there only for versions
        // of FFmpeg whose packets are known.
        if let Some(packet) = unsafe { packet.as_ref() } {
            player.frames.sent(packet.pts, at);
        }
    });
    // SAFETY: the caller's own arguments.
    unsafe { original(context, packet) }
}

/// A frame comes out of the decoder.
///
/// # Safety
/// What libavcodec asks for.
#[unsafe(no_mangle)]
unsafe extern "C" fn avcodec_receive_frame(context: *mut c_void, frame: *mut Frame) -> c_int {
    let Some(original) = RECEIVE_FRAME.get() else {
        return NOWHERE;
    };
    // SAFETY: the caller's own arguments.
    let answer = unsafe { original(context, frame) };
    let at = Timestamp::now();
    if answer >= 0 {
        note(|player| {
            // SAFETY: a player is there only for versions of FFmpeg whose frames are known.
            let frame = unsafe { &*frame };
            // SAFETY: it was just filled, and nobody else has it yet.
            if let Some(strip) = unsafe { frame.strip() } {
                player.frames.decoded(frame.pts, strip, at);
            }
        });
    }
    answer
}

/// A frame is drawn in colours: where the processor draws, SDL knows no other formats, and `ffplay` has FFmpeg convert.
///
/// # Safety
/// What SDL asks for.
#[unsafe(no_mangle)]
unsafe extern "C" fn SDL_UpdateTexture(
    texture: *mut c_void,
    area: *const c_void,
    pixels: *const c_void,
    pitch: c_int,
) -> c_int {
    let Some(original) = UPDATE_TEXTURE.get() else {
        return NOWHERE;
    };
    // SAFETY: the caller's own arguments.
    let answer = unsafe { original(texture, area, pixels, pitch) };
    // A part of a picture is none.
    if area.is_null() {
        note(|player| {
            // SAFETY: SDL has just written to the texture.
            let strip = unsafe { of_texture(texture) }.and_then(|(format, width, height)| {
                let width = width.checked_mul(4).filter(|_| is_packed(format))?;
                // SAFETY: SDL has just read as many rows of as many bytes from there.
                packed_strip(unsafe { plane(pixels.cast(), pitch, width, height) }?)
            });
            if let Some(strip) = strip {
                player.frames.drawn(strip);
            }
        });
    }
    answer
}

/// A frame is drawn as it comes out of the decoder: where a graphics card draws.
///
/// # Safety
/// What SDL asks for.
#[unsafe(no_mangle)]
unsafe extern "C" fn SDL_UpdateYUVTexture(
    texture: *mut c_void,
    area: *const c_void,
    luma: *const u8,
    luma_pitch: c_int,
    blue: *const u8,
    blue_pitch: c_int,
    red: *const u8,
    red_pitch: c_int,
) -> c_int {
    let Some(original) = UPDATE_YUV_TEXTURE.get() else {
        return NOWHERE;
    };
    // SAFETY: the caller's own arguments.
    let answer = unsafe {
        original(
            texture, area, luma, luma_pitch, blue, blue_pitch, red, red_pitch,
        )
    };
    if area.is_null() {
        note(|player| {
            // SAFETY: SDL has just written to the texture.
            let strip = unsafe { of_texture(texture) }.and_then(|(_, width, height)| {
                // SAFETY: SDL has just read as many rows of as many bytes from there.
                let luma = unsafe { plane(luma, luma_pitch, width, height) }?;
                Strip::read(Place::Bottom, luma)
            });
            if let Some(strip) = strip {
                player.frames.drawn(strip);
            }
        });
    }
    answer
}

/// Format, width and height of a texture, in pixels.
///
/// # Safety
/// SDL has it.
unsafe fn of_texture(texture: *mut c_void) -> Option<(u32, c_int, c_int)> {
    let query = QUERY_TEXTURE.get()?;
    let (mut format, mut access, mut width, mut height) = (0, 0, 0, 0);
    // SAFETY: SDL writes to the four, which live through the call.
    let answer = unsafe {
        query(
            texture,
            &raw mut format,
            &raw mut access,
            &raw mut width,
            &raw mut height,
        )
    };
    (answer == 0).then_some((format, width, height))
}

/// What is drawn goes to the screen. It counts from the call: after it SDL waits until the screen would be drawn anew.
///
/// # Safety
/// What SDL asks for.
#[unsafe(no_mangle)]
unsafe extern "C" fn SDL_RenderPresent(renderer: *mut c_void) {
    let Some(original) = RENDER_PRESENT.get() else {
        return;
    };
    let at = Timestamp::now();
    // SAFETY: the caller's own argument.
    unsafe { original(renderer) };
    note(|player| player.presented(at));
}
