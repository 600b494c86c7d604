//! The last steps inside a sandbox before its init runs: the variables, then the system call filter.

use std::collections::HashMap;

use libcontainer::{
    oci_spec::runtime::Spec,
    workload::{
        Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
        default::{DefaultExecutor, get_executor},
    },
};

use super::seccomp::{bpf::Instruction, load};

/// Runs what the configuration says, under a filter that was compiled before.
#[derive(Clone)]
pub(super) struct Filtered {
    filter: Vec<Instruction>,
}

impl Filtered {
    pub(super) fn new(filter: Vec<Instruction>) -> Self {
        Self { filter }
    }
}

impl Executor for Filtered {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        DefaultExecutor {}.exec(spec)
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        get_executor().validate(spec)
    }

    /// The filter is loaded here and not in `exec`, because here a failure still reaches whoever asked for the sandbox.
    /// All capabilities are gone at this point and `no_new_privs` is set.
    fn setup_envs(&self, variables: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        get_executor().setup_envs(variables)?;
        load::load(&self.filter)
            .map_err(|error| ExecutorSetEnvsError::Other(format!("the system call filter: {error}")))
    }
}
