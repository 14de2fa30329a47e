//! A Kafka of the tests' own: brokers on this machine that end with the process that started them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Brokers and all that they write.
pub struct Brokers {
    directory: TempDir,
    servers: String,
}

impl Brokers {
    /// Starts one broker or three, and waits until they answer. Panics when that fails.
    pub fn start(count: usize) -> Self {
        Self::start_with(count, None)
    }

    /// Starts one broker that asks clients for a name and a password, by SCRAM-SHA-512.
    pub fn start_with_password(user: &str, password: &str) -> Self {
        Self::start_with(1, Some(format!("{user}:{password}")))
    }

    fn start_with(count: usize, account: Option<String>) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the brokers");
        let mut command = command("start", directory.path(), &[&count.to_string()]);
        if let Some(account) = account {
            command.env("KAFKA_SCRAM", account);
        }
        let servers = output(command);
        let servers = servers.trim().to_owned();
        assert!(!servers.is_empty(), "the brokers have no addresses");
        Self { directory, servers }
    }

    /// `host:port,…`
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// Ends a broker without a warning. They count from 1.
    pub fn kill(&self, broker: usize) {
        script("kill-broker", self.directory.path(), &[&broker.to_string()]);
    }

    /// Ends a broker in order.
    pub fn stop(&self, broker: usize) {
        script("stop-broker", self.directory.path(), &[&broker.to_string()]);
    }

    /// Starts a broker that was ended, on the same port with the same data.
    pub fn restart(&self, broker: usize) {
        script(
            "start-broker",
            self.directory.path(),
            &[&broker.to_string()],
        );
    }

    pub fn pid(&self, broker: usize) -> u32 {
        let pid = script("pid", self.directory.path(), &[&broker.to_string()]);
        pid.trim().parse().expect("a process id")
    }

    /// What Kafka says of the only partition of a topic, of the form `Name: value`.
    pub fn partition(&self, topic: &str, name: &str) -> String {
        let class = "org.apache.kafka.tools.TopicCommand";
        let told = self.tool(class, &["--describe", "--topic", topic]);
        let partition = told.lines().find(|line| line.contains("Partition: 0"));
        let mut fields = partition.unwrap_or_default().split('\t');
        let value = fields.find_map(|field| field.trim().strip_prefix(name)?.strip_prefix(": "));
        value
            .unwrap_or_else(|| panic!("no {name} in {told}"))
            .to_owned()
    }

    /// Whether so many brokers have all of a topic.
    pub fn in_sync(&self, topic: &str, count: usize) -> bool {
        self.partition(topic, "Isr").split(',').count() == count
    }

    /// Runs a program of Kafka's own against these brokers, and returns what it prints.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let mut all = vec![class, "--bootstrap-server", &self.servers];
        all.extend(arguments);
        script("tool", self.directory.path(), &all)
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        // The watcher ends what this leaves.
        let _ = command("stop", self.directory.path(), &[]).status();
    }
}

fn command(action: &str, directory: &Path, arguments: &[&str]) -> Command {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("services/kafka.sh");
    let mut command = Command::new(path);
    command
        .arg(action)
        .arg(directory)
        .args(arguments)
        .env("KAFKA_WATCH_PID", std::process::id().to_string())
        .stdin(Stdio::null());
    command
}

fn script(action: &str, directory: &Path, arguments: &[&str]) -> String {
    output(command(action, directory, arguments))
}

fn output(mut command: Command) -> String {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .expect("the script for Kafka runs");
    assert!(output.status.success(), "{command:?} failed");
    String::from_utf8(output.stdout).expect("text")
}
