#pragma once
/// A file in memory without reading it: the system loads a page when it is first looked at and may drop it again.
///
/// Tensors borrow their bytes from here and keep the mapping alive through a shared_ptr. A file must not be cut while
/// it is mapped; it may be renamed, replaced or removed.

#include <cassert>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <smolvlm/core/storage.hpp>

namespace smolvlm {

class MappedFile {
public:
    /// Maps the whole file, read-only. Throws ValueError when it cannot be opened, FormatError when it is empty.
    static std::shared_ptr<const MappedFile> open(const std::string& path) {
        const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        SMOLVLM_CHECK(descriptor >= 0, ValueError, path, ": cannot be opened: ", std::strerror(errno));
        const Descriptor closer{descriptor};
        struct stat status {};
        SMOLVLM_CHECK(::fstat(descriptor, &status) == 0, ValueError, path, ": cannot be read: ", std::strerror(errno));
        SMOLVLM_CHECK(!S_ISDIR(status.st_mode), ValueError, path, ": is a folder, expected a file");
        SMOLVLM_CHECK(S_ISREG(status.st_mode), ValueError, path, ": is no regular file");
        SMOLVLM_CHECK(status.st_size > 0, FormatError, path, ": is empty");
        const auto size = static_cast<std::size_t>(status.st_size);
        void* const address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        SMOLVLM_CHECK(address != MAP_FAILED, ValueError, path, ": cannot be mapped: ", std::strerror(errno));
        return std::shared_ptr<const MappedFile>(new MappedFile(path, static_cast<std::byte*>(address), size));
    }

    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile() { ::munmap(data_, size_); }

    const std::string& path() const { return path_; }
    const std::byte* data() const { return data_; }
    Index size() const { return static_cast<Index>(size_); }

    /// Gives the whole pages within [offset, offset + length) back to the system: after weights were packed into a
    /// layout of their own, the file's copy need not count as memory of this process. Looking again reads the file
    /// again.
    void advise_dont_need(Index offset, Index length) const {
        const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        const std::size_t begin = (static_cast<std::size_t>(offset) + page - 1) / page * page;
        std::size_t end = static_cast<std::size_t>(offset) + static_cast<std::size_t>(length);
        end = end >= size_ ? size_ : end / page * page;
        if (begin < end) ::madvise(data_ + begin, end - begin, MADV_DONTNEED);
    }

private:
    struct Descriptor {
        int value;
        ~Descriptor() { ::close(value); }
    };

    MappedFile(std::string path, std::byte* data, std::size_t size)
        : path_(std::move(path)), data_(data), size_(size) {}

    std::string path_;
    std::byte* data_;
    std::size_t size_;
};

/// Bytes [offset, offset + size) of the file as storage that keeps the mapping alive.
inline Storage borrow(const std::shared_ptr<const MappedFile>& file, Index offset, Index size) {
    assert(0 <= offset && 0 <= size && offset + size <= file->size());
    return Storage::borrow(file->data() + offset, static_cast<std::size_t>(size), file);
}

}  // namespace smolvlm
