//! Style sheet, scripts and icon: in the binary, under names that change with what is in them.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use data_encoding::HEXLOWER;

use super::reply::Oops;

/// What browsers may keep for ever: the name says which content it is.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// One file.
struct Asset {
    stem: &'static str,
    extension: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

const ASSETS: [Asset; 4] = [
    Asset {
        stem: "doorward",
        extension: "css",
        content_type: "text/css; charset=utf-8",
        content: include_bytes!("../../../assets/doorward.css"),
    },
    Asset {
        stem: "doorward",
        extension: "js",
        content_type: "text/javascript; charset=utf-8",
        content: include_bytes!("../../../assets/doorward.js"),
    },
    Asset {
        stem: "htmx.min",
        extension: "js",
        content_type: "text/javascript; charset=utf-8",
        content: include_bytes!("../../../assets/htmx.min.js"),
    },
    Asset {
        stem: "icon",
        extension: "svg",
        content_type: "image/svg+xml",
        content: include_bytes!("../../../assets/icon.svg"),
    },
];

/// Paths of the files, for templates.
#[derive(Debug)]
pub struct Paths {
    /// The style sheet.
    pub css: String,
    /// Our script.
    pub js: String,
    /// htmx.
    pub htmx: String,
    /// The icon.
    pub icon: String,
}

/// Hashes of the files, in their order.
static HASHES: LazyLock<[String; 4]> = LazyLock::new(|| {
    ASSETS.each_ref().map(|asset| HEXLOWER.encode(&digest(&SHA256, asset.content).as_ref()[..8]))
});

static PATHS: LazyLock<Paths> = LazyLock::new(|| {
    let [css, js, htmx, icon] = [0, 1, 2, 3].map(|at| format!("/assets/{}", name(&ASSETS[at], &HASHES[at])));
    Paths { css, js, htmx, icon }
});

/// Paths of the files.
pub fn paths() -> &'static Paths {
    &PATHS
}

fn name(asset: &Asset, hash: &str) -> String {
    format!("{}.{hash}.{}", asset.stem, asset.extension)
}

/// `GET /assets/{name}`.
pub(super) async fn serve(Path(wanted): Path<String>, headers: HeaderMap) -> Result<Response, Oops> {
    let found = ASSETS.iter().zip(HASHES.iter()).find(|(asset, hash)| name(asset, hash) == wanted);
    let (asset, hash) = found.ok_or(Oops::NotFound)?;
    let tag = format!("\"{hash}\"");
    let known = headers.get(IF_NONE_MATCH).and_then(|field| field.to_str().ok());
    let is_known = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, HeaderValue::from_static(asset.content_type))], asset.content).into_response()
    };
    response.headers_mut().insert(CACHE_CONTROL, FOR_EVER);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}
