#include "lowrank/io/names/ldm.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>

namespace lowrank::io {

namespace {

struct Pair {
  std::string_view ours, theirs;
};

// The parts of names that have no number of a block in them; prefixes end in a dot or are whole.
constexpr Pair kUNetTops[] = {
    {"time_embedding.linear_1", "time_embed.0"},
    {"time_embedding.linear_2", "time_embed.2"},
    {"add_embedding.linear_1", "label_emb.0.0"},
    {"add_embedding.linear_2", "label_emb.0.2"},
    {"conv_in", "input_blocks.0.0"},
    {"conv_norm_out", "out.0"},
    {"conv_out", "out.2"},
};
constexpr Pair kUNetResnet[] = {
    {"norm1", "in_layers.0"},  {"conv1", "in_layers.2"},          {"norm2", "out_layers.0"},
    {"conv2", "out_layers.3"}, {"time_emb_proj", "emb_layers.1"}, {"conv_shortcut", "skip_connection"},
};
constexpr Pair kUNetMiddle[] = {{"resnets.0", "0"}, {"attentions.0", "1"}, {"resnets.1", "2"}};
constexpr Pair kVaeParts[] = {{"conv_shortcut", "nin_shortcut"}};
constexpr Pair kVaeAttention[] = {{"group_norm", "norm"}, {"to_q", "q"}, {"to_k", "k"}, {"to_v", "v"}, {"to_out.0", "proj_out"}};
constexpr Pair kOpenClipTops[] = {{"text_model.embeddings.token_embedding", "token_embedding"},
                                  {"text_model.final_layer_norm", "ln_final"}};
constexpr Pair kOpenClipLayer[] = {{"layer_norm1", "ln_1"},
                                   {"layer_norm2", "ln_2"},
                                   {"mlp.fc1", "mlp.c_fc"},
                                   {"mlp.fc2", "mlp.c_proj"},
                                   {"self_attn.out_proj", "attn.out_proj"}};

/// Whether `name` is `start` or goes on after it with a dot; then `rest` is what follows, dot included.
bool has_start(std::string_view name, std::string_view start, std::string_view& rest) {
  if (!name.starts_with(start) || (name.size() > start.size() && name[start.size()] != '.')) return false;
  rest = name.substr(start.size());
  return true;
}

/// The start of `name` replaced by the table; "" when no entry fits.
std::string mapped(std::string_view name, std::span<const Pair> table, std::string_view Pair::*from, std::string_view Pair::*to) {
  std::string_view rest;
  for (const Pair& pair : table) {
    if (has_start(name, pair.*from, rest)) return fmt::format("{}{}", pair.*to, rest);
  }
  return "";
}

std::string to_ldm(std::string_view name, std::span<const Pair> table) { return mapped(name, table, &Pair::ours, &Pair::theirs); }
std::string from_ldm(std::string_view name, std::span<const Pair> table) { return mapped(name, table, &Pair::theirs, &Pair::ours); }

/// Cuts "<word>.<number>" and the dot after it from the front of `name`.
std::optional<int64_t> cut(std::string_view& name, std::string_view word) {
  if (!name.starts_with(word) || name.size() <= word.size() || name[word.size()] != '.') return std::nullopt;
  const char* first = name.data() + word.size() + 1;
  int64_t number = 0;
  const auto [end, failed] = std::from_chars(first, name.data() + name.size(), number);
  if (failed != std::errc() || end == first) return std::nullopt;
  name.remove_prefix(static_cast<size_t>(end - name.data()));
  if (!name.empty() && name.front() != '.') return std::nullopt;
  if (!name.empty()) name.remove_prefix(1);
  return number;
}

/// "prefix.rest", or the prefix alone; "" when `rest` is what a table did not know.
std::string joined(std::string prefix, std::string_view rest, bool known) {
  if (!known) return "";
  if (!rest.empty()) prefix.append(".").append(rest);
  return prefix;
}

/// One layer of a down or up block: `at` is its number in the original list.
std::string ldm_unet_layer(std::string_view list, int64_t at, std::string_view name, bool attention) {
  if (attention) return joined(fmt::format("{}.{}.1", list, at), name, true);
  const std::string inner = name.empty() ? "" : to_ldm(name, kUNetResnet);
  return joined(fmt::format("{}.{}.0", list, at), inner, name.empty() || !inner.empty());
}

std::string diffusers_unet_layer(std::string_view block, int64_t layer, std::string_view name, bool attention) {
  if (attention) return joined(fmt::format("{}.attentions.{}", block, layer), name, true);
  const std::string inner = name.empty() ? "" : from_ldm(name, kUNetResnet);
  return joined(fmt::format("{}.resnets.{}", block, layer), inner, name.empty() || !inner.empty());
}

}  // namespace

LdmUNet ldm_numbering(std::span<const std::string> names) {
  LdmUNet unet{.layers = 1, .up_attends = {}};
  for (const std::string_view name : names) {
    std::string_view rest = name;
    if (cut(rest, "down_blocks")) {
      if (const auto layer = cut(rest, "resnets")) unet.layers = std::max(unet.layers, *layer + 1);
    } else if (const auto block = cut(rest, "up_blocks")) {
      const auto at = static_cast<size_t>(*block);
      if (at >= unet.up_attends.size()) unet.up_attends.resize(at + 1);
      if (cut(rest, "attentions")) unet.up_attends[at] = true;
    }
  }
  return unet;
}

LdmUNet original_numbering(std::span<const std::string> names) {
  int64_t first_op = 0, last = 1;  // the layers of a block, then its "op"; the last block has none
  for (const std::string_view name : names) {
    std::string_view rest = name, after;
    const int64_t at = cut(rest, "input_blocks").value_or(0);
    if (has_start(rest, "0.op", after) && (first_op == 0 || at < first_op)) first_op = at;
    last = std::max(last, at);
  }
  return {.layers = first_op > 0 ? first_op - 1 : last, .up_attends = {}};
}

std::string ldm_unet_name(std::string_view name, const LdmUNet& unet) {
  if (const std::string top = to_ldm(name, kUNetTops); !top.empty()) return top;
  std::string_view rest = name;
  if (has_start(name, "mid_block", rest) && !rest.empty()) {
    const std::string inner = to_ldm(rest.substr(1), kUNetMiddle);  // "0.norm1.weight"
    if (inner.empty() || inner.front() == '1' || inner.size() == 1) return joined("middle_block", inner, !inner.empty());
    const std::string part = to_ldm(std::string_view(inner).substr(2), kUNetResnet);
    return joined("middle_block." + inner.substr(0, 1), part, !part.empty());
  }
  rest = name;
  const bool down = name.starts_with("down_blocks.");
  const auto block = cut(rest, down ? "down_blocks" : "up_blocks");
  if (!block || (!down && static_cast<size_t>(*block) >= unet.up_attends.size())) return "";
  const std::string_view list = down ? "input_blocks" : "output_blocks";
  const int64_t first = *block * (unet.layers + 1) + (down ? 1 : 0);
  if (const auto layer = cut(rest, "resnets")) return ldm_unet_layer(list, first + *layer, rest, false);
  if (const auto layer = cut(rest, "attentions")) return ldm_unet_layer(list, first + *layer, rest, true);
  if (down && has_start(rest, "downsamplers.0.conv", rest)) return fmt::format("{}.{}.0.op{}", list, first + unet.layers, rest);
  if (!down && has_start(rest, "upsamplers.0.conv", rest)) {
    return fmt::format("{}.{}.{}.conv{}", list, first + unet.layers, unet.up_attends[static_cast<size_t>(*block)] ? 2 : 1, rest);
  }
  return "";
}

std::string diffusers_unet_name(std::string_view name, const LdmUNet& unet) {
  if (const std::string top = from_ldm(name, kUNetTops); !top.empty()) return top;
  std::string_view rest = name;
  if (const auto place = cut(rest, "middle_block")) {
    const std::string layer = from_ldm(std::to_string(*place), kUNetMiddle);
    if (layer.empty()) return "";
    if (*place == 1 || rest.empty()) return joined("mid_block." + layer, rest, true);
    const std::string part = from_ldm(rest, kUNetResnet);
    return joined("mid_block." + layer, part, !part.empty());
  }
  const bool down = name.starts_with("input_blocks.");
  const auto at = cut(rest, down ? "input_blocks" : "output_blocks");
  const int64_t number = at.value_or(-1) - (down ? 1 : 0);
  if (!at || number < 0 || rest.empty()) return "";
  const int64_t block = number / (unet.layers + 1), layer = number % (unet.layers + 1);
  const std::string place = fmt::format("{}_blocks.{}", down ? "down" : "up", block);
  std::string_view after;
  if (down && has_start(rest, "0.op", after)) return fmt::format("{}.downsamplers.0.conv{}", place, after);
  for (const std::string_view sampler : {"1.conv", "2.conv"}) {
    if (!down && has_start(rest, sampler, after)) return fmt::format("{}.upsamplers.0.conv{}", place, after);
  }
  const char kind = rest.front();
  if ((kind != '0' && kind != '1') || (rest.size() > 1 && rest[1] != '.')) return "";
  return diffusers_unet_layer(place, layer, rest.size() > 2 ? rest.substr(2) : "", kind == '1');
}

LdmTensor ldm_vae_name(std::string_view name, int64_t blocks) {
  std::string_view rest;
  for (const std::string_view convolution : {"quant_conv", "post_quant_conv"}) {
    if (has_start(name, convolution, rest)) return {std::string(name)};
  }
  const std::string side = name.starts_with("encoder.") ? "encoder" : name.starts_with("decoder.") ? "decoder" : "";
  if (side.empty()) return {};
  rest = name.substr(side.size() + 1);
  const auto resnet = [&](const std::string& place, std::string_view part) {
    const std::string shortcut = to_ldm(part, kVaeParts);
    return LdmTensor{fmt::format("{}.{}.{}", side, place, shortcut.empty() ? part : shortcut)};
  };
  std::string_view after;
  if (has_start(rest, "conv_norm_out", after)) return {side + ".norm_out" + std::string(after)};
  if (has_start(rest, "mid_block", after) && !after.empty()) {
    after.remove_prefix(1);
    if (const auto layer = cut(after, "resnets")) return resnet(fmt::format("mid.block_{}", *layer + 1), after);
    if (!cut(after, "attentions")) return {};
    const bool matrix = after.ends_with(".weight") && !after.starts_with("group_norm");
    return {side + ".mid.attn_1." + to_ldm(after, kVaeAttention), matrix ? LdmPart::pointwise : LdmPart::whole};
  }
  const bool down = side == "encoder";
  after = rest;
  if (const auto block = cut(after, down ? "down_blocks" : "up_blocks")) {
    const std::string place = down ? fmt::format("down.{}", *block) : fmt::format("up.{}", blocks - 1 - *block);
    std::string_view sampler;
    if (has_start(after, down ? "downsamplers.0" : "upsamplers.0", sampler)) {
      return {fmt::format("{}.{}.{}{}", side, place, down ? "downsample" : "upsample", sampler)};
    }
    if (const auto layer = cut(after, "resnets")) return resnet(fmt::format("{}.block.{}", place, *layer), after);
    return {};
  }
  return {std::string(name)};  // conv_in, conv_out
}

LdmTensor open_clip_name(std::string_view name) {
  if (name == "text_projection.weight") return {"text_projection", LdmPart::transposed};
  if (name == "text_model.embeddings.position_embedding.weight") return {"positional_embedding"};
  if (const std::string top = to_ldm(name, kOpenClipTops); !top.empty()) return {top};
  std::string_view rest = name;
  const auto layer = cut(rest, "text_model.encoder.layers");
  if (!layer) return {};
  const std::string block = fmt::format("transformer.resblocks.{}.", *layer);
  constexpr std::pair<std::string_view, LdmPart> kFused[] = {{"self_attn.q_proj.", LdmPart::first_third},
                                                             {"self_attn.k_proj.", LdmPart::second_third},
                                                             {"self_attn.v_proj.", LdmPart::last_third}};
  for (const auto& [start, part] : kFused) {
    if (rest.starts_with(start)) return {fmt::format("{}attn.in_proj_{}", block, rest.substr(start.size())), part};
  }
  const std::string inner = to_ldm(rest, kOpenClipLayer);
  return inner.empty() ? LdmTensor{} : LdmTensor{block + inner};
}

}  // namespace lowrank::io
