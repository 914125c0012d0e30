#pragma once
/// A folder that appears under its name whole or not at all, like AtomicFile.

#include <filesystem>
#include <vector>

#include <smolvlm/io/atomic_file.hpp>
#include <smolvlm/io/mapped_file.hpp>

namespace smolvlm {

/// The folder and those that it is in. Throws ValueError.
inline void make_folder(const std::string& path) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    SMOLVLM_CHECK(!error, ValueError, path, ": cannot be made: ", error.message());
}

class AtomicFolder {
public:
    /// Throws ValueError when the folder is there and not empty, or its parent cannot be written to.
    explicit AtomicFolder(std::string path) : path_(std::move(path)) {
        while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
        SMOLVLM_CHECK(::rmdir(path_.c_str()) == 0 || errno == ENOENT, ValueError, path_, ": cannot be written: ",
                      errno == ENOTEMPTY || errno == EEXIST ? "the folder is not empty" : std::strerror(errno));
        temporary_ = path_ + ".part" + std::to_string(::getpid());
        SMOLVLM_CHECK(::mkdir(temporary_.c_str(), 0777) == 0, ValueError, path_, ": cannot be written: ",
                      std::strerror(errno));
    }
    AtomicFolder(const AtomicFolder&) = delete;
    AtomicFolder& operator=(const AtomicFolder&) = delete;
    ~AtomicFolder() {
        if (committed_) return;
        for (const std::string& file : files_) std::remove(file.c_str());
        ::rmdir(temporary_.c_str());
    }

    /// Where to write the file of that name until commit().
    std::string add(const std::string& name) {
        files_.push_back(temporary_ + '/' + name);
        return files_.back();
    }
    void write(const std::string& name, std::string_view text) {
        AtomicFile file(add(name));
        file.write(text);
        file.commit();
    }
    void copy(const std::string& name, const std::string& from) {
        const auto source = MappedFile::open(from);
        AtomicFile file(add(name));
        file.write(std::span(source->data(), static_cast<std::size_t>(source->size())));
        file.commit();
    }

    void commit() {
        SMOLVLM_CHECK(std::rename(temporary_.c_str(), path_.c_str()) == 0, ValueError, path_, ": cannot be written: ",
                      std::strerror(errno));
        committed_ = true;
    }

private:
    std::string path_, temporary_;
    std::vector<std::string> files_;
    bool committed_ = false;
};

}  // namespace smolvlm
