// lowrank train --method full --component vae: training the autoencoder of an image model.
#pragma once

#include "lowrank/cli/command.h"

namespace lowrank::cli {

/// Flags that are about the autoencoder.
void describe_autoencoder(Command& command);

/// The whole of the verb: exit status.
int train_autoencoder(Command& command, bool resume);

}  // namespace lowrank::cli
