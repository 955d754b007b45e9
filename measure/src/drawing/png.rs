//! Drawings as PNG, for documents that take no SVG.

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};

/// Why there is no PNG.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// Text would be missing.
    #[error(
        "figures as PNG need a font, and none is installed; Debian's is in the package fonts-dejavu-core"
    )]
    NoFont,
    /// The drawing cannot be made one.
    #[error("a figure cannot be made a PNG: {0}")]
    Drawing(String),
}

/// Fonts of which the first that is there is taken for `sans-serif`, which no font is called; any other after these.
const SANS_SERIF: [&str; 4] = ["DejaVu Sans", "Liberation Sans", "Noto Sans", "Arial"];

/// A drawing as PNG, a pixel for each of its units.
///
/// # Errors
/// When no font is installed, or the text is no SVG.
pub fn png(svg: &str) -> Result<Vec<u8>, PngError> {
    let failed = |error: &dyn std::fmt::Display| PngError::Drawing(error.to_string());
    let options = Options {
        fontdb: Arc::clone(fonts()?),
        ..Options::default()
    };
    let tree = Tree::from_str(svg, &options).map_err(|error| failed(&error))?;
    let size = tree.size().to_int_size();
    let mut pixels =
        Pixmap::new(size.width(), size.height()).ok_or_else(|| failed(&"it has no size"))?;
    resvg::render(&tree, Transform::identity(), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| failed(&error))
}

/// The system's fonts, read once.
fn fonts() -> Result<&'static Arc<Database>, PngError> {
    static FONTS: OnceLock<Arc<Database>> = OnceLock::new();
    let fonts = FONTS.get_or_init(|| {
        let mut fonts = Database::new();
        fonts.load_system_fonts();
        let families: Vec<String> = fonts
            .faces()
            .flat_map(|face| face.families.iter().map(|(name, _)| name.clone()))
            .collect();
        let known = SANS_SERIF
            .into_iter()
            .find(|name| families.iter().any(|family| family == name));
        if let Some(family) = known.map(str::to_owned).or(families.first().cloned()) {
            fonts.set_sans_serif_family(family);
        }
        Arc::new(fonts)
    });
    if fonts.is_empty() {
        return Err(PngError::NoFont);
    }
    Ok(fonts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(body: &str) -> Pixmap {
        let svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 40"><style>text{{font:12px system-ui,sans-serif}}</style>{body}</svg>"#
        );
        Pixmap::decode_png(&png(&svg).unwrap()).unwrap()
    }

    #[test]
    fn shapes_and_text_are_there() {
        let inked = |pixels: &Pixmap| pixels.pixels().iter().filter(|p| p.alpha() > 0).count();
        let empty = drawn("");
        assert_eq!((empty.width(), empty.height(), inked(&empty)), (80, 40, 0));
        assert_eq!(inked(&drawn(r#"<rect width="10" height="10"/>"#)), 100);
        assert!(inked(&drawn(r#"<text x="5" y="20">load</text>"#)) > 20);
    }

    #[test]
    fn what_is_no_svg_is_refused() {
        for text in ["", "<svg", "<html/>"] {
            assert!(matches!(png(text), Err(PngError::Drawing(_))), "{text}");
        }
    }
}
