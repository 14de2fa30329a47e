//! How long requests take.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use axum::http::StatusCode;
use metrics::Histogram;

thread_local! {
    /// The histograms that this thread has recorded in, of each route: finding one by its labels costs
    /// more than many a request.
    static KNOWN: RefCell<HashMap<Box<str>, Vec<Known>>> = RefCell::default();
}

struct Known {
    method: &'static str,
    status: StatusCode,
    histogram: Histogram,
}

/// Records how long a request took. The labels are those of declared methods and routes, so that there
/// is an end to them.
pub fn took(method: &'static str, route: &str, status: StatusCode, time: Duration) {
    KNOWN.with_borrow_mut(|known| {
        if let Some(of_route) = known.get(route)
            && let Some(found) = of_route
                .iter()
                .find(|found| found.method == method && found.status == status)
        {
            return found.histogram.record(time);
        }
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        let histogram = metrics::histogram!("hansard_http_request_seconds", &labels);
        histogram.record(time);
        known.entry(route.into()).or_default().push(Known {
            method,
            status,
            histogram,
        });
    });
}
