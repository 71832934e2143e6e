//! What is printed: the paper's figures beside the model's, and tables in plain text.

use std::fmt::Write;

use super::Failure;

/// What a figure of the model is worth beside the published one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It went into the model as published.
    Published,
    /// Something in the model was chosen so that it comes out.
    Fitted,
    /// It came out.
    Predicted,
}

impl Mark {
    const fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Fitted => "fitted",
            Self::Predicted => "predicted",
        }
    }
}

/// One published figure and the model's.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    pub(super) key: &'static str,
    pub(super) what: &'static str,
    pub(super) published: Option<f64>,
    pub(super) model: f64,
    pub(super) mark: Mark,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    figures: Vec<Figure>,
    tables: String,
}

impl Report {
    /// Adds a figure.
    pub(super) fn figure(
        &mut self,
        key: &'static str,
        what: &'static str,
        published: impl Into<Option<f64>>,
        model: f64,
        mark: Mark,
    ) {
        self.figures.push(Figure { key, what, published: published.into(), model, mark });
    }

    /// Adds a line of text.
    pub(super) fn line(&mut self, line: &str) {
        self.tables.push_str(line);
        self.tables.push('\n');
    }

    /// A figure of the model.
    #[cfg(test)]
    pub(super) fn get(&self, key: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.key == key).map(|figure| figure.model)
    }

    /// One JSON object, the figures by their keys.
    pub(super) fn json(&self) -> Result<String, Failure> {
        let figures = self.figures.iter().map(|figure| {
            // Three decimals are more than anything here is worth.
            (figure.key.to_owned(), serde_json::json!((figure.model * 1_000.0).round() / 1_000.0))
        });
        let object: serde_json::Map<_, _> = figures.collect();
        Ok(format!("{}\n", serde_json::to_string_pretty(&object)?))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = String::from(
            "The SPINE paper's figures, and the model's (real dispatcher and router extension, virtual time)\n\n",
        );
        let _ = writeln!(text, "{:<50} {:>10} {:>10} {:>8}", "", "paper", "model", "");
        for figure in &self.figures {
            let published = figure.published.map_or_else(String::new, short);
            let difference = figure.published.map_or_else(String::new, |published| {
                format!("{:+.1} %", (figure.model / published - 1.0) * 100.0)
            });
            let (model, mark) = (short(figure.model), figure.mark.name());
            let _ = writeln!(
                text,
                "{:<50} {published:>10} {model:>10} {difference:>8}  {mark}",
                figure.what
            );
        }
        text.push_str(&self.tables);
        text
    }
}

fn short(value: f64) -> String {
    if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
