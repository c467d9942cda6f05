// Memory of mapped files, given back while the file stays open.
#pragma once

#include <cstddef>
#include <span>

namespace lowrank {

/// Lets go of the whole pages of `mapped`, which lies in a MappedFile: read again they come from the file. A model that is copied out of
/// its file tensor by tensor is then in memory once.
void release_pages(std::span<const std::byte> mapped);

}  // namespace lowrank
