//! `holdfast gateway`.

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum GatewayCommand {
    /// Which there are, which one leads, and how far their clocks are apart.
    List,
}
