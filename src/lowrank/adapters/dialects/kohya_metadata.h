// What image tools read in a file's metadata: ss_* (kohya's training record), modelspec.* 1.0.1 and the hashes that A1111 shows.
#pragma once

#include "lowrank/adapters/dialects/dialect.h"

namespace lowrank::adapters {

/// Keys that the record came with (ss_*, modelspec.*) and, where they are missing or describe the tensors, our own: ss_v2,
/// ss_base_model_version, ss_network_module, ss_network_dim, ss_network_alpha, ss_network_args, modelspec.sai_model_spec, .architecture,
/// .implementation, .title, .resolution, and both sshs_ hashes.
io::Metadata kohya_metadata(const AdapterRecord& record, const tensor::TensorMap& tensors, const WriteContext& context,
                            std::string_view network_module, const Json& network_args);

/// As kohya's library/train_util.py computes them over the tensors serialised with the ss_* keys alone.
struct KohyaHashes {
  std::string model;   // sshs_model_hash: SHA-256 of all bytes after the header
  std::string legacy;  // sshs_legacy_hash: first 8 digits of SHA-256 of bytes [0x100000, 0x110000) of that file
};
KohyaHashes kohya_hashes(const tensor::TensorMap& tensors, const io::Metadata& metadata);

}  // namespace lowrank::adapters
