//! HTTP as it comes: connections, requests, limits, parameters, pages, times.

mod answers;
mod connections;
mod limits;
mod paging;
mod parameters;
mod queries;
mod rate_limits;
mod requests;
mod times;
mod tls;
