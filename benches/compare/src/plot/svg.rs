//! The few shapes of SVG that the pictures need. Used by `plot.rs` and its pictures.

use std::fmt::Write;

/// Where a text stands at its point.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// A picture.
pub struct Svg(String);

impl Svg {
    /// An empty white one.
    pub fn new(width: f64, height: f64) -> Svg {
        let mut svg = Svg(String::new());
        let _ = writeln!(
            svg.0,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\">"
        );
        svg.rect(0.0, 0.0, width, height, "white");
        svg
    }

    /// The whole file.
    pub fn text(self) -> String {
        self.0 + "</svg>\n"
    }

    /// A filled rectangle.
    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    }

    /// A line.
    pub fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, colour: &str, width: f64) {
        let _ = writeln!(
            self.0,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
             stroke-width=\"{width}\"/>"
        );
    }

    /// A filled circle.
    pub fn dot(&mut self, x: f64, y: f64, radius: f64, colour: &str) {
        let _ = writeln!(
            self.0,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>"
        );
    }

    /// An empty circle.
    pub fn ring(&mut self, x: f64, y: f64, radius: f64, colour: &str) {
        let _ = writeln!(
            self.0,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"none\" stroke=\"{colour}\" \
             stroke-width=\"1.5\"/>"
        );
    }

    /// A text.
    pub fn text_at(&mut self, x: f64, y: f64, text: &str, size: f64, colour: &str, anchor: Anchor) {
        self.write_text(x, y, text, size, colour, anchor, "");
    }

    /// A text that can be read on top of lines.
    pub fn halo_text_at(
        &mut self,
        x: f64,
        y: f64,
        text: &str,
        size: f64,
        colour: &str,
        anchor: Anchor,
    ) {
        let halo = " stroke=\"white\" stroke-width=\"3\" paint-order=\"stroke\"";
        self.write_text(x, y, text, size, colour, anchor, halo);
    }

    #[allow(clippy::too_many_arguments)]
    fn write_text(
        &mut self,
        x: f64,
        y: f64,
        text: &str,
        size: f64,
        colour: &str,
        anchor: Anchor,
        more: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{colour}\" \
             text-anchor=\"{anchor}\"{more}>{text}</text>"
        );
    }
}
