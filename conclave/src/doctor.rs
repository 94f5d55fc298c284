//! `conclave doctor`: looks at the machine and the configuration before clients do, and says what
//! to do. It binds the ports for a moment, so the server must not run meanwhile.

mod certificate;
mod host;
mod link;
mod network;
mod report;

use crate::config::Config;
use report::{Finding, Report};

/// Looks at everything and prints one line for each finding.
///
/// Returns whether the server can run.
pub(crate) fn run(config: &Config) -> bool {
    let mut report = Report::default();
    report.add("data directory", host::data_dir(&config.storage.data_dir));
    report.add("http port", network::listener(config.http.listen, "http.listen"));
    report.add("certificate", certificate::check(&config.http));
    report.add("udp ports", network::udp_ports(&config.media));
    report.add("tcp ports", network::tcp_ports(&config.media));
    report.add("udp buffers", network::buffers(config.media.socket_buffer_bytes as u64));
    report.add("udp batches", network::segmentation());
    report.add("announced addresses", network::announced(&config.media));
    report.add("open files", host::open_files());
    report.add("clock", host::clock());
    if config.recorder.enabled {
        report.add("composites", host::composites(crate::recorder::tools(config.recorder.sandbox)));
    }
    if let Some(listen) = config.link.listen {
        report.add("link port", link::port(listen));
    }
    if let Some(to) = &config.link.connect {
        report.add("link to recorder", link::to_recorder(config, to));
    }
    report.print();
    report.sound()
}
