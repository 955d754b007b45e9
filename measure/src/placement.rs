//! What a placement left, as figures: Tables 2, 3 and 4 of the thesis are made of these.

use std::path::Path;

use record::raw::{FrameRow, PingRow, SentRow};
use record::read_csv;
use record::results::Frames;
use serde::Serialize;

use crate::arrivals::{Figures, Measured};
use crate::campaign::cells::span;
use crate::folder::MeasureError;
use crate::statistics::Values;
use crate::{frames, picture_age};

/// Figures of one measurement of a placement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlacementFigures {
    /// How long was measured.
    pub duration_s: f64,
    /// Age of the picture on the screen, each 10 ms.
    pub picture_age_ms: Distribution,
    /// The thesis looks once a second: the same age at as many instants, which meet the camera's frames in all their phases.
    pub shots_ms: Distribution,
    /// Delay of each frame that was shown.
    pub frame_delay_ms: Distribution,
    /// What became of the frames sent.
    pub frames: Frames,
    /// Between packets with a payload at the player's link layer.
    pub packet_intervals_ms: Figures,
    /// Between the first packets of successive frames there.
    pub frame_intervals_ms: Figures,
    /// Round trips from the user to where the functions are, with nothing else under way.
    pub rtt_ms: Distribution,
}

/// Of a set of values; what cannot be said of too few is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Distribution {
    pub n: u64,
    pub mean: Option<f64>,
    pub sd: Option<f64>,
    pub median: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

impl From<&Values> for Distribution {
    fn from(values: &Values) -> Self {
        Self {
            n: values.n(),
            mean: values.mean(),
            sd: values.sd(),
            median: values.median(),
            p95: values.quantile(0.95),
            p99: values.quantile(0.99),
            max: values.max(),
        }
    }
}

/// Samples of picture age from one shot to the next: a second and 10 ms, since a whole second is a whole number of frames and every
/// shot would find its frame at the same age.
pub(crate) const SHOT_EVERY: usize = 101;

impl PlacementFigures {
    /// Computes them from the raw data in a folder.
    ///
    /// # Errors
    /// When a file is missing, cannot be read or contradicts itself.
    pub fn read(folder: &Path) -> Result<Self, MeasureError> {
        let nonsense = |file: &str, text: String| MeasureError::Nonsense {
            path: folder.join(file),
            text,
        };
        let span = span(folder)?;
        let shown: Vec<FrameRow> = read_csv(&folder.join("frames.csv"))?;
        let sent: Vec<SentRow> = read_csv(&folder.join("sent.csv"))?;
        let pings: Vec<PingRow> = read_csv(&folder.join("ping.csv"))?;
        let ages = picture_age::sample(&shown, span);
        let age = |every| -> Values {
            ages.iter()
                .step_by(every)
                .map(|row| row.picture_age_ms)
                .collect()
        };
        let delays: Values = shown
            .iter()
            .filter(|row| span.contains(row.shown_us) && frames::is_new(row))
            .filter_map(|row| row.delay_ms)
            .collect();
        let pcap = folder.join("arrivals.pcap");
        let arrivals = Measured::read(&pcap, None)
            .map_err(|error| nonsense("arrivals.pcap", error.to_string()))?
            .figures();
        Ok(Self {
            duration_s: span.seconds(),
            picture_age_ms: (&age(1)).into(),
            shots_ms: (&age(SHOT_EVERY)).into(),
            frame_delay_ms: (&delays).into(),
            frames: frames::count(&sent, &shown, span),
            packet_intervals_ms: arrivals.packet_intervals_ms,
            frame_intervals_ms: arrivals.frame_intervals_ms,
            rtt_ms: (&pings.iter().map(|ping| ping.rtt_ms).collect::<Values>()).into(),
        })
    }
}
