//! What there is to do besides publishing.

use super::{help, read};
use crate::{want::Want, who::Question};
use clap::Subcommand;
use clap_complete::Shell;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Name who has a port of this host
    #[command(after_help = help::WHO)]
    Who {
        /// A port, or a range; TCP and UDP where no protocol is named
        #[arg(value_name = "[IP:]PORT[-END][/PROTO]", required = true, value_parser = read::<Question>)]
        questions: Vec<Question>,
    },
    /// Look for what stands in the way of publishing here, and say what mends it
    #[command(after_help = help::DOCTOR)]
    Doctor {
        /// What is to be published: whether its ports can be had. Containers and options of a publish are accepted, and not
        /// looked at
        #[arg(value_name = "SPEC[@TARGET]", value_parser = read::<Want>)]
        wants: Vec<Want>,
        /// Print an array of objects
        #[arg(long)]
        json: bool,
    },
    /// Print what completes this tool's options in a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions { shell: Shell },
    /// Print the manual page
    #[command(after_help = help::MAN)]
    Man,
}
