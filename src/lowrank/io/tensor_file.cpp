#include "lowrank/io/tensor_file.h"

#include <algorithm>
#include <array>

#include "lowrank/base/error.h"
#include "lowrank/io/format.h"
#include "lowrank/io/shards.h"

namespace lowrank::io {

namespace fs = std::filesystem;

#define LOWRANK_FORMAT(name) const Format& name##_format();
#include "lowrank/io/formats.def"
#undef LOWRANK_FORMAT

namespace {

using FormatGetter = const Format& (*)();
constexpr FormatGetter kFormats[] = {
#define LOWRANK_FORMAT(name) name##_format,
#include "lowrank/io/formats.def"
#undef LOWRANK_FORMAT
};

struct Foreign {
  std::string_view start, what, hint;
};
constexpr std::string_view kNoPickles = "pickles run code when read, so they are never read; save the model as safetensors";
constexpr std::array<Foreign, 9> kForeign{{
    {"PK\x03\x04", "a zip archive (a PyTorch pickle?)", kNoPickles},
    {"\x80\x02", "a Python pickle", kNoPickles},
    {"\x80\x03", "a Python pickle", kNoPickles},
    {"\x80\x04", "a Python pickle", kNoPickles},
    {"\x80\x05", "a Python pickle", kNoPickles},
    {"version https://git-lfs", "a Git LFS pointer", "fetch the file itself with 'git lfs pull'"},
    {"<!DOCTYPE", "a web page", "the download went to a page instead of the file"},
    {"<!doctype", "a web page", "the download went to a page instead of the file"},
    {"<html", "a web page", "the download went to a page instead of the file"},
}};

void refuse_foreign(std::span<const std::byte> bytes, std::string_view where) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.size() > 8 && text[8] == '{') return;  // a safetensors header whose length happens to look like a magic number
  for (const auto& foreign : kForeign) {
    if (text.starts_with(foreign.start)) {
      fail(ErrorKind::unsupported, where, fmt::format("expected a tensor container, got {}", foreign.what), std::string(foreign.hint));
    }
  }
}

Contents parse(std::span<const std::byte> bytes, const std::string& where) {
  refuse_foreign(bytes, where);
  for (const auto format : kFormats) {
    if (format().recognises(bytes)) return format().parse(bytes, where);
  }
  fail(ErrorKind::unsupported, where, "a container of no known format");
}

fs::path file_in_folder(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"}) {
    if (fs::exists(folder / name)) return folder / name;
  }
  std::vector<std::string> names;
  bool pickles = false;
  std::error_code refused;
  for (const auto& item : fs::directory_iterator(folder, refused)) {
    names.push_back(item.path().filename().string());
    const auto extension = item.path().extension();
    pickles = pickles || extension == ".bin" || extension == ".pt" || extension == ".pth" || extension == ".ckpt";
  }
  check(!refused, ErrorKind::io, folder.string(), "cannot list the folder: {}", refused.message());
  std::sort(names.begin(), names.end());
  constexpr size_t kShown = 20;
  const size_t more = names.size() - std::min(names.size(), kShown);
  names.resize(names.size() - more);
  fail(ErrorKind::io, folder.string(),
       fmt::format("expected model.safetensors or model.safetensors.index.json, got {}{}",
                   names.empty() ? "an empty folder" : fmt::format("{}", fmt::join(names, ", ")),
                   more > 0 ? fmt::format(" and {} more", more) : ""),
       pickles ? std::string(kNoPickles) : "");
}

bool by_name(const TensorView& a, const TensorView& b) { return a.name < b.name; }

}  // namespace

TensorFile TensorFile::open(const fs::path& path) {
  std::error_code ignored;
  TensorFile file(fs::is_directory(path, ignored) ? file_in_folder(path) : path);
  if (file.path_.extension() == ".json") {
    file.load_shards();
  } else {
    file.load_container(file.path_);
  }
  std::sort(file.tensors_.begin(), file.tensors_.end(), by_name);
  return file;
}

void TensorFile::load_container(const fs::path& path) {
  files_.push_back(std::make_unique<MappedFile>(path));
  Contents contents = parse(files_.back()->bytes(), path.string());
  metadata_ = std::move(contents.metadata);
  tensors_ = std::move(contents.tensors);
}

void TensorFile::load_shards() {
  ShardIndex shards(path_);
  std::vector<TensorView> all;
  for (const auto& shard : shards.files()) {
    load_container(path_.parent_path() / shard);
    shards.add(shard, tensors_, metadata_);
    std::move(tensors_.begin(), tensors_.end(), std::back_inserter(all));
  }
  metadata_ = shards.finish();
  tensors_ = std::move(all);
}

const TensorView* TensorFile::find(std::string_view name) const {
  const auto found = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                      [](const TensorView& tensor, std::string_view wanted) { return tensor.name < wanted; });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

const TensorView& TensorFile::at(std::string_view name) const {
  if (const TensorView* found = find(name)) return *found;
  std::vector<std::string> names;
  for (const auto& tensor : tensors_) names.push_back(tensor.name);
  fail(ErrorKind::file_format, path_.string(), fmt::format("no tensor '{}'{}", name, did_you_mean(name, names)));
}

}  // namespace lowrank::io
