#include "lowrank/base/file.h"

#include <fstream>

#include "support/expect_error.h"
#include "support/temp_dir.h"

#include "lowrank/base/pages.h"

namespace lowrank {
namespace {

size_t entries(const std::filesystem::path& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

TEST(AtomicFile, AppearsOnCommitOnly) {
  const test::TempDir dir;
  {
    AtomicFile file(dir / "a.txt");
    file.write("half");
    EXPECT_FALSE(std::filesystem::exists(dir / "a.txt"));
  }
  EXPECT_EQ(entries(dir.path()), 0U) << "an abandoned write leaves nothing behind";
  write_file_atomic(dir / "a.txt", "whole");
  EXPECT_EQ(read_file(dir / "a.txt"), "whole");
  EXPECT_EQ(entries(dir.path()), 1U);
}

TEST(AtomicFile, MissingFolderIsAnIoError) {
  EXPECT_LOWRANK_ERROR(write_file_atomic("/no/such/folder/x", "y"), ErrorKind::io, "cannot create");
}

TEST(AtomicFolder, ReplacesTheOldOneInOneStep) {
  const test::TempDir dir;
  for (const char* text : {"old", "new"}) {
    AtomicFolder folder(dir / "out");
    write_file_atomic(folder.path() / "x", text);
    folder.commit();
  }
  EXPECT_EQ(read_file(dir / "out" / "x"), "new");
  EXPECT_EQ(entries(dir.path()), 1U);
}

TEST(MappedFile, RefusesAFolderAndAMissingFile) {
  const test::TempDir dir;
  EXPECT_LOWRANK_ERROR(MappedFile(dir.path()), ErrorKind::io, "expected a regular file");
  EXPECT_LOWRANK_ERROR(MappedFile(dir / "none"), ErrorKind::io, "cannot open: No such file");
}

TEST(MappedFile, ReleasedPagesComeBackFromTheFile) {
  const test::TempDir dir;
  const std::string text(100000, 'x');
  std::ofstream(dir / "long") << text;
  const MappedFile file(dir / "long");
  release_pages(file.bytes().subspan(5));
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()), text);
}

TEST(MappedFile, EmptyFileIsAnEmptySpan) {
  const test::TempDir dir;
  std::ofstream(dir / "empty").close();
  EXPECT_TRUE(MappedFile(dir / "empty").bytes().empty());
}

}  // namespace
}  // namespace lowrank
