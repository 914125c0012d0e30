#pragma once
/// A file of conversations, one JSON object a line (chat_json.hpp); empty lines are passed over. Every line is read and
/// checked when the file is opened, and so is that its pictures are there, so that a mistake in line 90,000 does not
/// stop a run after an hour. The file stays mapped; only the places of its lines are kept.

#include <smolvlm/data/chat_json.hpp>
#include <smolvlm/data/sample_source.hpp>
#include <smolvlm/io/mapped_file.hpp>

namespace smolvlm {

/// Opens a picture: load_image of image/load_stb.hpp, or something else that makes an Image of a path.
using PictureLoader = std::function<Image(const std::string& path)>;

class ChatFile : public SampleSource {
public:
    /// Picture paths count from the file's own folder. videos: which of their frames are read. Throws FormatError naming
    /// line, field, found and expected.
    static std::shared_ptr<const ChatFile> open(const std::string& path, PictureLoader load_picture = {},
                                                const VideoRule& videos = {}) {
        ChatFile file(MappedFile::open(path), std::move(load_picture), videos);
        const std::string_view text = file.text();
        Index line = 1;
        for (std::size_t begin = 0; begin < text.size(); ++line) {
            const std::size_t end = std::min(text.find('\n', begin), text.size());
            if (text.substr(begin, end - begin).find_first_not_of(" \t\r") != text.npos)
                file.lines_.push_back({begin, end - begin, line});
            begin = end + 1;
        }
        SMOLVLM_CHECK(!file.lines_.empty(), FormatError, path, ": has no lines, expected one conversation a line");
        for (Index i = 0; i < file.size(); ++i) file.check_pictures(file.chat(i), i);
        return std::make_shared<const ChatFile>(std::move(file));
    }

    Index size() const override { return static_cast<Index>(lines_.size()); }
    /// "data.jsonl: line 17", for messages about sample i.
    std::string where(Index i) const override {
        return join(file_->path(), ": line ", lines_[static_cast<std::size_t>(i)].number);
    }

    /// Sample i; the values of its images and frames are paths that can be opened.
    Conversation chat(Index i) const {
        const Line& line = lines_[static_cast<std::size_t>(i)];
        Conversation chat = parse_chat(parse_json(text().substr(line.begin, line.length), where(i)), where(i));
        for (Message& message : chat)
            for (ContentPart& part : message.content)
                if (part.kind != ContentPart::text && !part.value.starts_with('/')) part.value = folder_ + part.value;
        try {
            return with_frames(std::move(chat), videos_);
        } catch (const ValueError& error) {
            fail<ValueError>(where(i), ": ", error.what());
        }
    }
    Sample sample(Index i) const override {
        Sample sample{chat(i), {}};
        for (const ContentPart& part : pictures_of(sample.chat)) sample.pictures.push_back(load_picture_(part.value));
        return sample;
    }

private:
    struct Line {
        std::size_t begin, length;
        Index number;
    };

    ChatFile(std::shared_ptr<const MappedFile> file, PictureLoader load_picture, const VideoRule& videos)
        : file_(std::move(file)), load_picture_(std::move(load_picture)), videos_(videos) {
        folder_ = file_->path().substr(0, file_->path().rfind('/') + 1);
    }
    std::string_view text() const {
        return {reinterpret_cast<const char*>(file_->data()), static_cast<std::size_t>(file_->size())};
    }
    void check_pictures(const Conversation& chat, Index i) const {
        for (std::size_t m = 0; m < chat.size(); ++m)
            for (const ContentPart& part : chat[m].content)
                SMOLVLM_CHECK(!part.is_picture() || ::access(part.value.c_str(), R_OK) == 0, ValueError,
                              where(i), ": message ", m + 1, ": the picture ", part.value,
                              " cannot be opened: ", std::strerror(errno));
    }

    std::shared_ptr<const MappedFile> file_;
    PictureLoader load_picture_;
    VideoRule videos_;
    std::string folder_;
    std::vector<Line> lines_;
};

/// Every source is a file of conversations.
inline SourceOpener chat_files(PictureLoader load_picture) {
    return [load_picture](const std::string& path, const VideoRule& videos) {
        return ChatFile::open(path, load_picture, videos);
    };
}

}  // namespace smolvlm
