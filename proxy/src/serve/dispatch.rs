//! Which handler a call has.

use shm_ipc::calls::private;

use super::arguments::Arguments;
use super::call::Call;
use super::host::Outcome;

/// Executes a call.
pub fn execute(call: &mut Call<'_, '_>) -> Outcome {
    match call.nr {
        private::RING_NOP => Ok(0),
        _ => generic(call),
    }
}

fn generic(call: &mut Call<'_, '_>) -> Outcome {
    let mut arguments = Arguments::new(call)?;
    let nr = i64::from(call.nr);
    let args = arguments.args(call)?;
    let result = call.make(nr, &args, true)?;
    arguments.write_back(call)?;
    Ok(result)
}
