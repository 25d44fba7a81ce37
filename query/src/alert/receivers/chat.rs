//! Slack and Teams: a title and a text in a channel, by its incoming webhook.

use super::template::Text;
use serde_json::{Value, json};

/// The longest text of a block in Slack, in characters.
const SLACK: usize = 2_900;
/// The longest text in a card of Teams (28 KB hold the whole message), in characters.
const TEAMS: usize = 12_000;

/// As Slack's incoming webhooks take it.
pub(super) fn slack(text: &Text) -> Value {
    json!({
        // What notifications and old clients show.
        "text": escaped(&text.title),
        "blocks": [
            { "type": "section", "text": { "type": "mrkdwn", "text": format!("*{}*", escaped(&cut(&text.title, SLACK / 4))) } },
            { "type": "section", "text": { "type": "mrkdwn", "text": cut(&escaped(&text.body), SLACK) } },
        ],
    })
}

/// As a workflow of Teams takes it that posts cards: an Adaptive Card.
pub(super) fn teams(text: &Text) -> Value {
    // Two lines with one break between are one paragraph of Markdown.
    let body = cut(&text.body, TEAMS).replace('\n', "\n\n");
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    { "type": "TextBlock", "text": text.title, "weight": "Bolder", "size": "Medium", "wrap": true },
                    { "type": "TextBlock", "text": body, "wrap": true },
                ],
            },
        }],
    })
}

/// What would be markup in Slack is text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
