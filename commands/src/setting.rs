//! Changes of the workspace's settings.

use hansard_domain::setting::SettingCommand;
use hansard_domain::setting::definitions::{Definition, definition};
use serde_json::Value;

use crate::bus::Commands;
use crate::caller::Caller;
use crate::error::CommandError;
use crate::model::WriteModel;

/// Whether the caller may read settings that are not public.
pub fn may_view(model: &WriteModel, caller: &Caller) -> bool {
    model.allows(caller, "view-privileged-setting", None)
}

/// Sets a setting to a value that its definition allows.
pub async fn change(
    commands: &Commands,
    caller: &Caller,
    id: &str,
    value: Value,
) -> Result<(), CommandError> {
    let found = definition(id);
    commands
        .run(caller, move |decision| {
            let permission = "edit-privileged-setting";
            if !decision.model().allows(decision.caller(), permission, None) {
                decision.caller().user_id()?;
                return Err(CommandError::unauthorized(permission, None));
            }
            let definition = found.filter(|found| !found.hidden).ok_or_else(unknown)?;
            set(decision, definition, value.clone())
        })
        .await?;
    Ok(())
}

fn unknown() -> CommandError {
    CommandError::refused("error-invalid-setting", "Invalid setting")
}

fn set(
    decision: &mut crate::decision::Decision<'_>,
    definition: &Definition,
    value: Value,
) -> Result<(), CommandError> {
    definition.validate(&value)?;
    if decision.model().setting(definition.id) == value {
        return Ok(());
    }
    let key = decision.fresh_key()?;
    decision.setting(definition.id, SettingCommand::Change { key, value })
}
