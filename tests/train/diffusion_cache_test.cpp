// Latents and text states: right, filed by content, never stale, and kept when caching was stopped half-way.
#include <gtest/gtest.h>
#include <map>

#include "support/expect_close.h"
#include "support/expect_error.h"
#include "support/temp_dir.h"
#include "train/tiny_pipeline.h"

#include "lowrank/data/images/image_set.h"
#include "lowrank/train/diffusion/latents.h"

namespace lowrank::train {

namespace {

namespace fs = std::filesystem;

int64_t files_in(const fs::path& folder) {
  if (!fs::exists(folder)) return 0;
  int64_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) count += entry.is_regular_file();
  return count;
}

class LatentCache : public ::testing::Test {
 protected:
  LatentCache() {
    test::write_tiny_pictures(folder_ / "pictures", 4);
    options_ = test::tiny_picture_options(folder_ / "pictures");
    set_ = data::read_image_set(options_);
  }

  /// Encodes in a new session; the latents of picture 0.
  PictureLatents encode(const StopToken* stop = nullptr) {
    TensorCache cache(cache_folder_);
    Latents latents(set_, options_, *pipeline_.vae, cache);
    latents.encode(*pipeline_.vae, {}, stop);
    return latents.at(0, false);
  }

  test::TempDir folder_;
  fs::path cache_folder_ = folder_ / "cache";
  data::ImageDataOptions options_;
  data::ImageSet set_;
  models::Pipeline pipeline_ = test::tiny_pipeline("sd15");
};

TEST_F(LatentCache, HoldsScaledMomentsOfThePreparedPicture) {
  const auto [mean, deviation, mask] = encode();
  const auto shown = set_.prepare(0, options_, false).picture;
  at::Tensor pixels = at::empty({1, 3, 16, 16}, at::kFloat);
  for (int64_t i = 0; i < 16 * 16 * 3; ++i) pixels[0][i % 3][i / 48][i / 3 % 16] = shown.rgb[static_cast<size_t>(i)] / 127.5 - 1;
  const at::NoGradGuard no_grad;
  const auto moments = pipeline_.vae->encode(pixels);
  EXPECT_TRUE(test::close(mean, 0.13 * moments.mean.squeeze(0), 1e-6));
  EXPECT_TRUE(test::close(deviation, 0.13 * (moments.logvar.squeeze(0) / 2).exp(), 1e-6));
  EXPECT_FALSE(mask.defined());
}

TEST_F(LatentCache, MasksAreAveragedOverEachLatentAndMirroredWithThePicture) {
  data::Picture mask{.size = {16, 16}, .rgb = std::vector<uint8_t>(16 * 16 * 3, 255)};
  for (size_t i = 0; i < 3; ++i) mask.rgb[i] = 0;  // the pixel at the top left
  fs::create_directory(folder_ / "masks");
  for (int i = 0; i < 3; ++i) data::write_png(folder_ / "masks" / fmt::format("p{}.png", i), mask);
  options_.masks = (folder_ / "masks").string();
  options_.missing_masks = "full";
  options_.flip = true;
  set_ = data::read_image_set(options_);
  TensorCache cache("");
  Latents latents(set_, options_, *pipeline_.vae, cache);
  latents.encode(*pipeline_.vae);
  const at::Tensor plain = latents.at(0, false).mask, mirrored = latents.at(0, true).mask;
  EXPECT_EQ(plain.sizes(), at::IntArrayRef({1, 8, 8}));
  EXPECT_FLOAT_EQ(plain[0][0][0].item<float>(), 0.75F);
  EXPECT_FLOAT_EQ(plain.sum().item<float>(), 63.75F);
  EXPECT_FLOAT_EQ(mirrored[0][0][7].item<float>(), 0.75F);
  EXPECT_FALSE(at::equal(latents.at(0, false).mean, latents.at(0, true).mean));
  EXPECT_FALSE(latents.at(3, false).mask.defined());
}

TEST_F(LatentCache, ComputesNothingTwiceAndNothingStale) {
  const at::Tensor first = encode().mean;
  EXPECT_EQ(files_in(cache_folder_), 4);
  EXPECT_TRUE(at::equal(encode().mean, first));
  EXPECT_EQ(files_in(cache_folder_), 4);
  data::write_png(folder_ / "pictures/p0.png", test::tiny_picture({16, 16}, 77));
  set_ = data::read_image_set(options_);
  EXPECT_FALSE(at::equal(encode().mean, first));
  EXPECT_EQ(files_in(cache_folder_), 5);  // the picture is another
  {
    const at::NoGradGuard no_grad;
    pipeline_.vae->parameters().back().add_(1e-3);
  }
  encode();
  EXPECT_EQ(files_in(cache_folder_), 9);  // and so is the autoencoder
  options_.background = "black";
  encode();
  EXPECT_EQ(files_in(cache_folder_), 13);
}

TEST_F(LatentCache, StoppedHalfWayItKeepsWhatWasDone) {
  StopToken stop;
  TensorCache cache(cache_folder_);
  Latents latents(set_, options_, *pipeline_.vae, cache);
  const auto stop_after_two = [&](const Progress& progress) {
    if (progress.done == 2) stop.request();
  };
  EXPECT_LOWRANK_ERROR(latents.encode(*pipeline_.vae, stop_after_two, &stop), ErrorKind::cancelled, "stopped by the user");
  EXPECT_EQ(files_in(cache_folder_), 2);
  std::map<fs::path, fs::file_time_type> done;
  for (const auto& entry : fs::recursive_directory_iterator(cache_folder_)) {
    if (entry.is_regular_file()) done.emplace(entry.path(), entry.last_write_time());
  }
  encode();
  EXPECT_EQ(files_in(cache_folder_), 4);
  for (const auto& [path, time] : done) EXPECT_EQ(fs::last_write_time(path), time) << path;
}

TEST_F(LatentCache, MakesADamagedFileAnew) {
  const at::Tensor first = encode().mean;
  for (const auto& entry : fs::recursive_directory_iterator(cache_folder_)) {
    if (entry.is_regular_file()) fs::resize_file(entry.path(), 20);
  }
  TensorCache cache(cache_folder_);
  Latents latents(set_, options_, *pipeline_.vae, cache);
  latents.encode(*pipeline_.vae);
  EXPECT_TRUE(at::equal(latents.at(0, false).mean, first));
}

TEST_F(LatentCache, NamesThePictureWhoseLatentsAreNotFinite) {
  {
    const at::NoGradGuard no_grad;
    pipeline_.vae->parameters().front().fill_(std::nan(""));  // of the encoder
  }
  EXPECT_LOWRANK_ERROR(encode(), ErrorKind::invalid_argument, "pictures/p0.png] expected finite latents");
  EXPECT_EQ(files_in(cache_folder_), 0);
}

class TextCache : public ::testing::TestWithParam<const char*> {
 protected:
  TextStates states(int64_t windows = 1, int64_t skip = 0) const {
    return {pipeline_, std::vector<ClipTokens>(pipeline_.is_xl() ? 2 : 1, test::letter_tokens()), {skip, windows}};
  }
  bool is_xl() const { return pipeline_.is_xl(); }

  test::TempDir folder_;
  models::Pipeline pipeline_ = test::tiny_pipeline(GetParam());
};

TEST_P(TextCache, GivesTheEncodersStates) {
  const at::NoGradGuard no_grad;
  const auto [got, pooled] = states().encode({"abc"});
  const at::Tensor ids = at::tensor({38, 'a' % 36, 'b' % 36, 'c' % 36, 39, 39, 39, 39, 39}, at::kLong).unsqueeze(0);
  const auto first = pipeline_.text_encoder->forward(ids, is_xl() ? 1 : 0, !is_xl(), false);
  EXPECT_TRUE(test::close(got.slice(2, 0, 12), first.states, 1e-6));
  EXPECT_EQ(pooled.defined(), is_xl());
  if (!is_xl()) return;
  const auto second = pipeline_.text_encoder_2->forward(ids, 1, false, true);
  EXPECT_TRUE(test::close(got.slice(2, 12), second.states, 1e-6));
  EXPECT_TRUE(test::close(pooled, second.pooled, 1e-6));
}

TEST_P(TextCache, LongCaptionsTakeSeveralWindows) {
  const at::NoGradGuard no_grad;
  auto long_states = states(2);
  EXPECT_EQ(long_states.limit(), 16);
  EXPECT_EQ(long_states.count("abcdefghij"), 12);
  const at::Tensor got = long_states.encode({"abcdefghij"}).states, one = states().encode({"abcdefg"}).states,
                   two = states().encode({"hij"}).states;
  EXPECT_EQ(got.size(1), 16);
  EXPECT_TRUE(test::close(got.slice(1, 0, 8), one.slice(1, 0, 8), 1e-6));
  EXPECT_TRUE(test::close(got.slice(1, 8), two.slice(1, 1), 1e-6));
}

TEST_P(TextCache, FilesStatesByTokensAndWeights) {
  TensorCache cache(folder_ / "cache");
  auto before = states();
  const auto [all, pooled] = before.cached({"abc", "x"}, cache);
  EXPECT_TRUE(test::close(all, before.encode({"abc", "x"}).states, 1e-6));
  EXPECT_EQ(files_in(folder_ / "cache"), 2);
  before.release();
  EXPECT_TRUE(at::equal(before.cached({"x"}, cache).states[0], all[1]));
  EXPECT_LOWRANK_ERROR(before.cached({"new"}, cache), ErrorKind::internal, "let go of");
  {
    const at::NoGradGuard no_grad;
    pipeline_.text_encoder->parameters().front().add_(0.5);
  }
  EXPECT_FALSE(at::equal(states().cached({"x"}, cache).states[0], all[1]));
  EXPECT_EQ(files_in(folder_ / "cache"), 3);
  if (is_xl()) {
    EXPECT_LOWRANK_ERROR(states(1, 1), ErrorKind::invalid_argument, "expected 0 for SDXL");
  } else {
    EXPECT_FALSE(at::equal(states(1, 1).cached({"x"}, cache).states[0], all[1]));
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, TextCache, ::testing::Values("sd15", "sdxl"), [](const auto& i) { return std::string(i.param); });

}  // namespace

}  // namespace lowrank::train
