//! What FFmpeg's programs are told where they carry the video in place of ours, in the lab and in benchmarks.

/// Options of a chain of FFmpeg's programs.
#[derive(Clone, Copy, Debug)]
pub struct Ffmpeg {
    /// Before each input that is MPEG-TS.
    pub input: &'static str,
    /// For each encoder.
    pub encode: &'static str,
    /// The same, for H.264 alone.
    pub encode_h264: &'static str,
    /// Before each output.
    pub output: &'static str,
    /// For `ffplay`.
    pub play: &'static str,
}

impl Ffmpeg {
    /// As one writes it down first.
    pub const PLAIN: Self = Self {
        input: "",
        encode: "",
        encode_h264: "-preset veryfast",
        output: "",
        // It collects 5 s of the stream before it begins, and shows everything so much later.
        play: "",
    };
    /// With what is known to lower the delay.
    pub const TUNED: Self = Self {
        // It probes for as long as a slow guest needs to see a whole I-frame, and no longer.
        input: "-fflags nobuffer -flags low_delay -probesize 32768 -analyzeduration 500000 -threads 1",
        encode: "-bf 0 -flags low_delay -threads 1",
        encode_h264: "-preset veryfast -tune zerolatency",
        output: "-muxdelay 0 -muxpreload 0 -flush_packets 1",
        // `setpts=0` makes each picture due at once: without it what was collected at the beginning stays in its queue.
        play: "-fflags nobuffer -flags low_delay -framedrop -probesize 32768 -analyzeduration 200000 -vf setpts=0",
    };
    /// Before all that it does: it says only what is wrong.
    pub const QUIET: &'static str = "-nostdin -nostats -loglevel error";
    /// Before an input that is the camera's raw pictures: in both chains, since the camera is not what they differ in.
    pub const RAW_INPUT: &'static str =
        "-fflags nobuffer -probesize 32 -analyzeduration 0 -f rawvideo -pix_fmt yuv420p";

    /// A decoder of MPEG-TS from its input to raw pictures, each as soon as it is decoded.
    #[must_use]
    pub fn decoder(&self) -> String {
        format!(
            "ffmpeg {} {} -f mpegts -i - -vsync passthrough -f rawvideo -pix_fmt yuv420p -",
            Self::QUIET,
            self.input
        )
    }
}
