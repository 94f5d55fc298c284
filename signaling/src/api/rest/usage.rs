//! Usage.

use axum::{
    Extension, Json as JsonBody, Router,
    extract::{OriginalUri, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use sdk_spec::{
    problem::{Code, FieldError},
    rest::{
        Day,
        usage::{Usage, UsageFormat, UsageGroup, UsageQuery, UsageRow},
    },
    scope::Scope,
};

use super::{cursor, events::room, sessions};
use crate::{
    api::{Failure, Shared, auth::Partner, problem::Params},
    clock, limits,
    store::UsageWanted,
    usage::fold,
};

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/usage", get(read_usage))
        .route("/v1/rooms/{room}/sessions", get(sessions::of_room))
        .route("/v1/sessions", get(sessions::of_handle))
        .route("/v1/erasures", post(sessions::erase))
}

/// `GET /v1/usage`.
async fn read_usage(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    Params(query): Params<UsageQuery>,
) -> Result<Response, Failure> {
    partner.may(Scope::UsageRead)?;
    let now_ms = clock::now_ms();
    let today = Day::of(now_ms);
    query.check(today)?;
    let format = format(&query, &headers)?;
    let (from, to) = query.days(today);
    let wanted = UsageWanted {
        days: (from, to),
        room: query.room.as_deref().map(room).transpose()?,
        group: query.group.unwrap_or_default(),
        after: query.cursor.as_deref().map(read_cursor).transpose()?,
        // One more than asked for tells whether there is a next page.
        limit: query.limit() + 1,
    };
    let running = query.running.unwrap_or_default();
    count_first(&app, &partner.project).await?;
    let (seq, mut rows, open) = app.store.usage_at_once(&partner.project, &wanted, running).await?;
    if let Some(open) = open {
        add_running(&mut rows, open.running(now_ms), &wanted);
    }
    let (rows, next_cursor) = page(rows, &wanted);
    let group = wanted.group;
    let usage = Usage { from, to, group, running, seq, rows, next_cursor };
    Ok(match format {
        UsageFormat::Json => ([VARY], JsonBody(usage)).into_response(),
        UsageFormat::Csv => csv(&usage, &uri),
    })
}

const VARY: (header::HeaderName, HeaderValue) = (header::VARY, HeaderValue::from_static("accept"));

/// Counts what is new, so that the answer knows everything that the asker does. Bounded: a server
/// that was down for long catches up in the background.
pub(super) async fn count_first(app: &Shared, project: &str) -> Result<(), Failure> {
    for _ in 0..limits::FOLD_AT_ONCE {
        let is_current = app.store.folded(project).await? >= app.store.head(project).await?;
        if is_current || app.store.fold(project, limits::FOLD_BATCH).await? == 0 {
            return Ok(());
        }
    }
    Ok(())
}

fn format(query: &UsageQuery, headers: &HeaderMap) -> Result<UsageFormat, Failure> {
    if let Some(format) = query.format {
        return Ok(format);
    }
    let accepted = headers.get(header::ACCEPT).map(|v| v.to_str().unwrap_or_default());
    let ranges = accepted.unwrap_or("*/*").split(',');
    let kinds: Vec<_> =
        ranges.map(|range| range.split(';').next().unwrap_or_default().trim()).collect();
    let has =
        |names: &[&str]| names.iter().any(|n| kinds.iter().any(|k| k.eq_ignore_ascii_case(n)));
    match () {
        () if has(&["application/json", "application/*"]) => Ok(UsageFormat::Json),
        () if has(&["text/csv", "text/*"]) => Ok(UsageFormat::Csv),
        () if has(&["*/*", ""]) => Ok(UsageFormat::Json),
        () => Err(Failure::new(Code::NotAcceptable)),
    }
}

/// Adds what goes on to the rows of its group.
fn add_running(rows: &mut fold::Usage, open: fold::Usage, wanted: &UsageWanted) {
    let only = wanted.room.map(|room| room.to_string());
    let (from, to) = wanted.days;
    for ((room, day), amounts) in open {
        if day < from || day > to || only.as_ref().is_some_and(|only| *only != room) {
            continue;
        }
        let key = match wanted.group {
            UsageGroup::Project => (String::new(), Day(0)),
            UsageGroup::Day => (String::new(), day),
            UsageGroup::Room => (room, Day(0)),
            UsageGroup::RoomDay => (room, day),
        };
        if wanted.after.as_ref().is_none_or(|after| key > *after) {
            rows.entry(key).or_default().add(&amounts);
        }
    }
}

/// The rows of this page, and where the next begins.
fn page(usage: fold::Usage, wanted: &UsageWanted) -> (Vec<UsageRow>, Option<String>) {
    let most = wanted.limit.saturating_sub(1) as usize;
    let (has_rooms, has_days) = match wanted.group {
        UsageGroup::Project => (false, false),
        UsageGroup::Day => (false, true),
        UsageGroup::Room => (true, false),
        UsageGroup::RoomDay => (true, true),
    };
    let last = usage.keys().nth(most.saturating_sub(1)).filter(|_| usage.len() > most);
    let next = last.map(|(room, day)| cursor::write(day.0.into(), room));
    let rows = usage.into_iter().take(most).map(|((room, day), amounts)| {
        amounts.row(has_rooms.then_some(room), has_days.then_some(day))
    });
    (rows.collect(), next)
}

fn read_cursor(text: &str) -> Result<(String, Day), Failure> {
    let wrong = || Failure::from(vec![FieldError::new("cursor", "is not a `next_cursor` of ours")]);
    let (day, room) = cursor::read(text)?;
    Ok((room, Day(u32::try_from(day).map_err(|_| wrong())?)))
}

/// RFC 4180. Nothing in it needs quotation marks: ids, days and numbers.
fn csv(usage: &Usage, uri: &axum::http::Uri) -> Response {
    let mut text = String::from(
        "room,day,stays,participant_seconds,camera_seconds,microphone_seconds,screen_seconds,\
         screen_audio_seconds,recorded_seconds,bytes_received,bytes_sent\r\n",
    );
    for row in &usage.rows {
        let tracks = &row.track_seconds;
        let numbers = [
            row.stays,
            row.participant_seconds,
            tracks.camera,
            tracks.microphone,
            tracks.screen,
            tracks.screen_audio,
            row.recorded_seconds,
            row.bytes_received,
            row.bytes_sent,
        ];
        let room = row.room.as_deref().unwrap_or_default();
        let day = row.day.map(|day| day.to_string()).unwrap_or_default();
        let numbers = numbers.map(|number| number.to_string()).join(",");
        text += &format!("{room},{day},{numbers}\r\n");
    }
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let mut response = ([kind, VARY], text).into_response();
    if let Some(next) = &usage.next_cursor {
        let others = uri.query().unwrap_or_default().split('&');
        let others = others.filter(|part| !part.is_empty() && !part.starts_with("cursor="));
        let query: Vec<_> = others.map(str::to_owned).chain([format!("cursor={next}")]).collect();
        let link = format!("</v1/usage?{}>; rel=\"next\"", query.join("&"));
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn chosen(accept: Option<&str>) -> Option<UsageFormat> {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        format(&UsageQuery::default(), &headers).ok()
    }

    #[test]
    fn the_format_follows_accept() {
        for json in [None, Some("*/*"), Some("application/json, text/csv;q=0.5"), Some("")] {
            assert_eq!(chosen(json), Some(UsageFormat::Json), "{json:?}");
        }
        assert_eq!(chosen(Some("text/csv")), Some(UsageFormat::Csv));
        assert_eq!(chosen(Some("text/*;q=0.9, */*;q=0.1")), Some(UsageFormat::Csv));
        assert_eq!(chosen(Some("image/png")), None);
    }
}
