// smolvlm preprocess: pictures to the frames that the vision tower sees.

#include <smolvlm/image/contact_sheet.hpp>
#include <smolvlm/image/save_png.hpp>

#include "commands.hpp"
#include "console.hpp"
#include "inputs.hpp"

namespace cli {

using namespace smolvlm;

int preprocess(const Words& words) {
    ModelFlags model;
    ImageFlags image_flags;
    MediaFlags media;
    std::string output, contact_sheet;
    Arguments arguments(
        "preprocess",
        "Turns pictures into the frames that the model sees and writes them as safetensors, with I frames of all\n"
        "pictures together, tiles row by row and each picture's global frame after its tiles:\n"
        "  pixel_values          F32 [I, 3, H, W]  what the vision tower is given\n"
        "  pixel_u8              U8  [I, 3, H, W]  the same before rescaling and normalising\n"
        "  pixel_attention_mask  I64 [I, H, W]     1 on real pixels\n"
        "  rows, cols            I64 [pictures]    the grid of tiles; 0 where there is one frame only\n"
        "Of a video the frames that the model is given, each as a picture.");
    model.declare(arguments);
    media.declare(arguments);
    arguments.text("--output", "O.safetensors", output, "the file to write");
    arguments.text("--contact-sheet", "O.png", contact_sheet,
                   "also draw a picture to look at: the tiles with their position tokens and the global frame");
    image_flags.declare(arguments);
    if (!arguments.parse(words)) return print(arguments.help()), 0;
    const Talk talk{{{"user", media.parts()}}, {}, {}};
    SMOLVLM_CHECK(!media.parts().empty(), ValueError, "--image is missing, expected a picture (or a --video)");
    SMOLVLM_CHECK(!output.empty(), ValueError, "--output is missing, expected the name of the file to write");

    const Processor processor = model.open_processor();
    SMOLVLM_CHECK(processor.has_images(), ValueError, model.model, ": this model reads text only");
    const Parts sources = talk.opened(image_flags.videos(processor)).pictures();
    const std::vector<ProcessedImage> processed = image_flags.process(sources, processor);
    const auto pictures = static_cast<Index>(processed.size());
    HostTensor<std::int64_t> rows(Shape{pictures}), cols(Shape{pictures});
    Index frames = 0;
    for (Index i = 0; i < pictures; ++i) {
        const ProcessedImage& one = processed[static_cast<std::size_t>(i)];
        rows.data()[i] = one.rows;
        cols.data()[i] = one.cols;
        frames += one.frames();
    }

    // Larger elements first, so that all are aligned; picture by picture, since floats take four times their bytes.
    const Index tile = processed[0].plan.tile;
    const Shape shape{frames, 3, tile, tile};
    const auto writer = TensorWriter::open(output, {{"pixel_attention_mask", DType::i64, {frames, tile, tile}, {}},
                                                    {"rows", DType::i64, rows.shape(), {}},
                                                    {"cols", DType::i64, cols.shape(), {}},
                                                    {"pixel_values", DType::f32, shape, {}},
                                                    {"pixel_u8", DType::u8, shape, {}}});
    const auto write = [&](const auto& tensor) { writer->write(std::as_bytes(tensor.flat())); };
    for (const ProcessedImage& one : processed) write(pixel_attention_mask(one));
    write(rows);
    write(cols);
    for (const ProcessedImage& one : processed) write(pixel_values(one, processor.image));
    for (const ProcessedImage& one : processed) write(one.pixel_u8);
    Words names;
    for (const ContentPart& part : sources) names.push_back(part.value);
    if (!contact_sheet.empty()) save_png(contact_sheet, draw_contact_sheet(processed, names));
    writer->commit();
    return 0;
}

}  // namespace cli
