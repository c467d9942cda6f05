// A comparison on the command line, whatever its kind: run it, say how it goes, write and print the report.
#pragma once

#include "lowrank/cli/command.h"
#include "lowrank/cli/terminal.h"
#include "lowrank/study/runner.h"

namespace lowrank::cli {

/// Fills the request's sinks and stop token, runs the study and reports: exit status.
int run_study(const Command& command, study::CompareRequest& request, study::StudyKind& kind, ProgressLine& line);

/// `lowrank compare` for a Stable Diffusion model (compare_drawn.cpp): its flags, and all of its work: exit status.
void describe_drawn(Command& command);
int compare_drawn(Command& command);

}  // namespace lowrank::cli
