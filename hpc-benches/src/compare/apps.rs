//! Suite `apps`: whole programs in small, with ranks and threads, natively and each rank in its own cell.
//!
//! They are compiled on demand with the node's own compiler wrapper, as in suite `mpi`, whose options say
//! which MPI library that is. Each checks its own result and is refused when it is wrong; what they
//! computed must also be the same on all sides.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, ValueEnum};

use super::compiled::{Program, Source};
use crate::error::Failure;

/// What all of them include.
const FURTHER: &[(&str, &str)] = &[("app.h", include_str!("../../programs/app.h"))];
const ADVICE: &str = "install an MPI library with its compiler wrapper, or give --mpicc";

/// Parameters of the suite.
#[derive(Args, Clone, Debug)]
#[group(id = "apps-settings")]
pub struct Settings {
    /// Run these alone
    #[arg(long, value_name = "APP", value_enum, value_delimiter = ',')]
    pub app: Vec<App>,
    /// Threads of each rank [default: the cores that this process may use, shared by the ranks]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub app_threads: Option<u32>,
    /// Size of the one app that --app names, in its own unit [default: each its own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub app_size: Option<u32>,
    /// How often each app repeats its work [default: each its own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub app_repeats: Option<u32>,
}

/// A mini-app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum App {
    /// Conjugate gradients on a 27-point stencil; size: points of a rank in each direction
    Cg,
    /// Fast Fourier transform in three dimensions; size: points in each direction
    Fft,
    /// Molecular dynamics; size: crystal cells of 4 atoms in each direction
    Particles,
    /// Monte Carlo transport; size: thousands of neutrons in a batch
    Montecarlo,
}

impl App {
    fn source(self) -> Source {
        let (name, text) = match self {
            Self::Cg => ("cg", include_str!("../../programs/cg.c")),
            Self::Fft => ("fft", include_str!("../../programs/fft.c")),
            Self::Particles => ("particles", include_str!("../../programs/particles.c")),
            Self::Montecarlo => ("montecarlo", include_str!("../../programs/montecarlo.c")),
        };
        Source { name, text, options: &["-fopenmp"], advice: ADVICE }
    }
}

impl Settings {
    /// The apps asked for, compiled.
    pub fn programs(&self, mpicc: &Path) -> Result<Vec<Program>, Failure> {
        let wanted = App::value_variants().iter().filter(|app| self.app.is_empty() || self.app.contains(app));
        wanted.map(|app| Program::compile_with(&app.source(), FURTHER, mpicc)).collect()
    }

    /// Refuses a size for several apps, each of which counts something else.
    pub fn check(&self) -> Result<(), Failure> {
        if self.app_size.is_none() || self.app.len() == 1 {
            return Ok(());
        }
        let message = "--app-size needs one app, since each counts something else; give for example --app cg too";
        Err(Failure::with_status(2, message))
    }

    /// How they are started. Every side is told the number of threads, so that all have the same.
    pub fn command_lines(&self, programs: &[Program], ranks: usize, cores: &[usize]) -> Vec<Vec<OsString>> {
        let options = self.options(ranks, cores.len());
        let line = |program: &Program| [vec![program.path().into()], options.clone()].concat();
        programs.iter().map(line).collect()
    }

    fn options(&self, ranks: usize, cores: usize) -> Vec<OsString> {
        let threads = self.app_threads.map_or((cores / ranks).max(1), |threads| threads as usize);
        let optional = [("-n", self.app_size), ("-r", self.app_repeats)];
        let optional =
            optional.iter().filter_map(|(option, value)| Some([(*option).into(), (*value)?.to_string().into()]));
        ["-t".into(), threads.to_string().into()].into_iter().chain(optional.flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_share_the_cores_unless_told_otherwise() {
        let settings = Settings { app: Vec::new(), app_threads: None, app_size: None, app_repeats: None };
        assert_eq!(settings.options(2, 16), ["-t", "8"]);
        assert_eq!(settings.options(2, 1), ["-t", "1"]);
        assert_eq!(settings.options(4, 16), ["-t", "4"]);
        let settings = Settings { app_threads: Some(3), app_size: Some(32), app_repeats: Some(5), ..settings };
        assert_eq!(settings.options(2, 16), ["-t", "3", "-n", "32", "-r", "5"]);
    }

    #[test]
    fn a_size_for_several_apps_is_refused_as_usage() {
        let all = Settings { app: Vec::new(), app_threads: None, app_size: Some(64), app_repeats: None };
        assert_eq!(all.check().unwrap_err().status(), 2);
        assert!(Settings { app: vec![App::Cg], ..all.clone() }.check().is_ok());
        assert!(Settings { app_size: None, ..all }.check().is_ok());
    }

    #[test]
    fn names_are_those_of_the_programs() {
        for app in App::value_variants() {
            let name = app.to_possible_value().unwrap().get_name().to_owned();
            assert_eq!(app.source().name, name);
            assert!(app.source().text.contains(&format!(".name = \"{name}\"")));
        }
    }
}
