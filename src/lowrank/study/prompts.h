// Prompts that no true picture exists for: what a drawn picture shows is the class of the nearest picture in a gallery of examples.
//
// A gallery looks at one thing: "subject", "colour", "outline". Each prompt says which class is wanted in some or all of them. An item's
// distance is 0 when the nearest example is of the class wanted, else 1; a gallery's own leave-one-out errors say how far that can be
// trusted and stand for the best possible. It tells whether a picture is nearer to what was asked for than to the other classes, not
// whether it is a good picture of it; a class that is missing from the gallery is never found.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lowrank/data/images/options.h"
#include "lowrank/evaluate/picture_features.h"

namespace lowrank::study {

struct Prompt {
  std::string text;
  std::map<std::string, std::string> wanted;  // class by gallery; a gallery that is not named is not looked at
};

struct Gallery {
  std::string name;
  std::string by;                                                       // "features", "colour" or "outline"
  std::vector<std::pair<std::string, std::filesystem::path>> pictures;  // class and file
};

struct PromptSet {
  std::vector<Prompt> prompts;
  std::vector<Gallery> galleries;
  std::string hash;  // SHA-256 of the file and of the pictures that it names
};

/// {"galleries": {"subject": {"by": "features", "classes": {"ghost": ["noto/1F47B.png", …], …}}, …},
///  "prompts": [{"prompt": "blue ghost", "subject": "ghost", "colour": "blue"}, …]}; paths are relative to the file's folder.
/// Throws Error{file_format} naming unknown keys, galleries and classes, and Error{io} for a picture that is not there.
PromptSet read_prompts(const std::filesystem::path& file);

/// Examples as points.
class Identifier {
 public:
  /// Reads the gallery's pictures as training reads its own. `features` must outlive this.
  Identifier(const Gallery& gallery, const data::ImageDataOptions& options, evaluate::PictureFeatures& features, int64_t batch);

  /// The class of the nearest example to each picture [3, H, W].
  std::vector<std::string> classes_of(const std::vector<at::Tensor>& pictures) const;
  /// Share of a class's examples whose nearest other example is of another class; 1 for a class with one example.
  double own_error(const std::string& name) const;
  std::string explanation() const;

 private:
  std::vector<at::Tensor> points_of(const std::vector<at::Tensor>& pictures) const;
  /// Distances of a point to every example [n].
  at::Tensor distances_to(const at::Tensor& point) const;

  std::string name_, by_;
  std::vector<std::string> classes_;
  at::Tensor examples_;  // [n, D]
  evaluate::PictureFeatures& features_;
  int64_t batch_;
};

}  // namespace lowrank::study
