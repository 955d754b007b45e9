//! The page that plays a stream, for people.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::StreamName;
use super::page::STYLE;

const SCRIPT: &str = include_str!("player.js");
const OWN_STYLE: &str = include_str!("player.css");

/// The whole page. Names of streams are plain letters, so that they need no care in an address.
pub(super) fn page(name: &StreamName) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (name) " – Forestall" }
                style { (PreEscaped(STYLE)) (PreEscaped(OWN_STYLE)) }
            }
            body data-stream=(name) {
                main {
                    h1 { a.back href="/" { "Live streams" } " / " (name) }
                    p #message role="status" { "Connecting …" }
                    div.screen { canvas #screen aria-label={ "Live picture of " (name) } width="640" height="480" {} }
                    dl.figures {
                        (figure("Camera to screen", "delay", "median of the last 5 s"))
                        (figure("95th percentile", "p95", "of the last 5 s"))
                        (figure("Clock of this browser", "offset", "against the server's"))
                        (figure("Frames", "frames", ""))
                        (figure("Between frames", "interval", "median"))
                        (figure("Bit rate", "rate", ""))
                    }
                    figure.chart {
                        canvas #chart width="900" height="160" role="img" aria-label="Camera to screen delay of the last 20 seconds" {}
                        figcaption {
                            "Camera to screen delay, last 20 s. It is read from the code strip at the bottom of the picture when the picture is \
                             drawn; the display adds up to one refresh. The camera's clock is taken to be the server's."
                        }
                    }
                    noscript { p { "This page needs JavaScript. Other players take the stream from " a href={ "/" (name) ".ts" } { (name) ".ts" } "." } }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn figure(name: &str, id: &str, note: &str) -> Markup {
    html! { div { dt { (name) } dd id=(id) { "–" } @if !note.is_empty() { dt { (note) } } } }
}
