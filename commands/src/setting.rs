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

/// The code of a refusal of what a setting decides whose value nobody can read.
const LOST: &str = "error-setting-lost";

/// Refuses what `setting` decides while it is not known what the workspace set it to.
pub(crate) fn require_known(model: &WriteModel, setting: &str) -> Result<(), CommandError> {
    if model.is_lost(setting) {
        return Err(CommandError::refused(
            LOST,
            format!(
                "Not known what {setting} is set to: the vault has not got its key. Put the newer vault \
                 back, or set it again"
            ),
        ));
    }
    Ok(())
}

/// Refuses what a stranger may do only as the workspace's settings say while any of them is not known.
pub(crate) fn require_all_known(model: &WriteModel) -> Result<(), CommandError> {
    if model.lost_settings().is_empty() {
        return Ok(());
    }
    Err(CommandError::refused(
        LOST,
        "Closed while settings of this workspace can't be read; its administrators find in the server's \
         output what to do",
    ))
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
    if decision.model().is_set_to(definition.id, &value) {
        return Ok(());
    }
    let key = decision.fresh_key()?;
    decision.setting(definition.id, SettingCommand::Change { key, value })
}
