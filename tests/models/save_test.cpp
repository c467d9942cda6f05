// Saved model folders. That transformers loads them and predicts the same: tools/check_saved_model.py.
#include "models/support.h"

#include "lowrank/nn/host.h"

namespace lowrank::models {

namespace {

const nn::Packed kBatch = nn::pack({{5, 6, 7}, {8, 9}});

class Shrinking : public nn::Adapter {
 public:
  at::Tensor apply_to_weight(const at::Tensor& w) const override { return w * 0.75; }
};

}  // namespace

TEST(SaveModel, MergedHostsAreWrittenMerged) {
  const test::TempDir out;
  const auto model = load_text_model(golden("bert_single"), stored_head(golden("bert_single")));
  const at::Tensor before = model->logits(kBatch);
  for (const auto& [name, host] : nn::hosts_of(*model)) {
    host->attach("shrinking", std::make_shared<Shrinking>());
    host->merge();
  }
  save_model(out / "model", *model, golden("bert_single"));
  const at::Tensor saved = load_text_model(out / "model", model->head())->logits(kBatch);
  EXPECT_TRUE(saved.equal(model->logits(kBatch)));
  EXPECT_GT(difference(saved, before), 0.01);
}

TEST(SaveModel, ReadBackGivesTheSameLogitsAndHead) {
  const test::TempDir out;
  const HeadOptions head{HeadKind::multi_label, {"b", "a"}};
  const auto model = load_text_model(golden("roberta_single"), head);
  save_model(out / "model", *model, golden("roberta_single"));
  const HeadOptions stored = stored_head(out / "model");
  EXPECT_EQ(stored.kind, HeadKind::multi_label);
  EXPECT_EQ(stored.labels, head.labels);
  const auto again = load_text_model(out / "model", stored);
  EXPECT_TRUE(again->new_modules().empty());
  EXPECT_TRUE(again->logits(kBatch).equal(model->logits(kBatch)));
}

TEST(SaveModel, ConfigSaysWhatTransformersNeeds) {
  const test::TempDir out;
  const auto model = load_text_model(golden("bert_single"), {HeadKind::regression, {}}, at::kBFloat16);
  save_model(out / "model", *model, golden("bert_single"));
  const Json config = read_json(out / "model/config.json");
  EXPECT_EQ(config["architectures"], Json({"BertForSequenceClassification"}));
  EXPECT_EQ(config["problem_type"].get<std::string>(), "regression");
  EXPECT_EQ(config["id2label"], Json({{"0", "LABEL_0"}}));
  EXPECT_EQ(config["label2id"], Json({{"LABEL_0", 0}}));
  EXPECT_EQ(config["dtype"].get<std::string>(), "float32");  // the new head's: bf16 tensors are exact in it
  EXPECT_EQ(io::TensorFile::open(out / "model").metadata().at("format"), "pt");
}

TEST(SaveModel, EqualModelsGiveEqualBytes) {
  const test::TempDir out;
  const auto model = load_text_model(golden("distilbert_single"), stored_head(golden("distilbert_single")));
  save_model(out / "one", *model, golden("distilbert_single"));
  save_model(out / "two", *model, golden("distilbert_single"));
  EXPECT_EQ(read_file(out / "one/model.safetensors"), read_file(out / "two/model.safetensors"));
  EXPECT_EQ(read_file(out / "one/config.json"), read_file(out / "two/config.json"));
}

TEST(SaveModel, CopiesTheTokenizerAndForABareModelThePooling) {
  const test::TempDir out, base;
  fs::create_directory(base / "1_Pooling");
  for (const char* name : {"tokenizer.json", "vocab.txt", "modules.json", "1_Pooling/config.json", "optimizer.pt"}) {
    write_file_atomic(base / name, "{}");
  }
  save_model(out / "bare", *load_text_model(golden("bert_single"), HeadOptions{}), base.path());
  save_model(out / "head", *load_text_model(golden("bert_single"), stored_head(golden("bert_single"))), base.path());
  EXPECT_TRUE(fs::exists(out / "bare/tokenizer.json") && fs::exists(out / "bare/1_Pooling/config.json"));
  EXPECT_TRUE(fs::exists(out / "head/vocab.txt"));
  EXPECT_FALSE(fs::exists(out / "head/modules.json") || fs::exists(out / "bare/optimizer.pt"));
}

}  // namespace lowrank::models
